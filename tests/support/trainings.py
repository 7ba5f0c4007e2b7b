"""Trainings on a tiny workspace: their job, how one is killed, whether two ended the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pipeline import layout
from pipeline.config.params import Params
from pipeline.records.manifest import read_manifest
from pipeline.training import TrainingJob
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.domain_adaptation.enabled import Adaptation, enabled
from tests.support.processes import Killed


def new_job(
    root: Path, params: Params, method_name: str = "fixmatch", *, monitored: bool = False
) -> TrainingJob:
    """A teacher's training on all of the workspace's pool, as if for the first domain.

    monitored: its val images are looked at while it runs.
    """
    samples = read_manifest(root / layout.MANIFEST)
    return TrainingJob(
        root=root,
        stage="train_teacher",
        params=enabled(params, Adaptation(), method_name=method_name, warm=False),
        labelled=tuple(s for s in samples if s.labelled),
        unlabelled=tuple(s for s in samples if s.unlabelled),
        monitored=tuple(s for s in samples if s.split == "val" and monitored),
    )


@contextmanager
def killed_after(step: int) -> Iterator[None]:
    """A training within must write its checkpoint of `step`, and dies of that."""
    save = Checkpoints.save

    def save_and_die(self: Checkpoints, state) -> None:
        save(self, state)
        if state.step == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            yield


def equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two states of a network, or of a method, have the same names and bits."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
