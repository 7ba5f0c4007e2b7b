"""What there is to choose from, in words: for `ssl-loop methods`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from pipeline.methods import FAMILIES
from pipeline.methods.shared.base import SemiSupervised, TeacherStudent


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method as its file describes it."""

    name: str
    family: str
    what: str
    """The first sentence of its file, with the paper."""
    averaged_teacher: bool
    """Whether the kept network is an average; else it is a student."""
    strong_views: int
    """Of each unlabelled image at a step."""
    mixes: tuple[str, ...]
    feature_perturbations: tuple[str, ...]
    """Both: where params.yaml says nothing else."""
    options: dict[str, Any]
    """method.options with their defaults."""


def entries() -> list[Entry]:
    """All methods, by family."""
    return [
        _entry(name, family, method)
        for family, members in FAMILIES.items()
        for name, method in members.items()
    ]


def _entry(name: str, family: str, method: type[SemiSupervised]) -> Entry:
    described = sys.modules[method.__module__].__doc__ or ""
    fields = method.options_type.model_fields
    return Entry(
        name=name,
        family=family,
        what=described.split("\n")[0],
        averaged_teacher=issubclass(method, TeacherStudent),
        strong_views=method.num_strong_views,
        mixes=method.mixes,
        feature_perturbations=method.feature_perturbations,
        options={
            key: field.get_default(call_default_factory=True) for key, field in fields.items()
        },
    )
