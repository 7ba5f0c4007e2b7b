"""`params.yaml` as frozen values: every knob, its range and its meaning in one place.

`load_params` refuses the whole file at once and names each key, its value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.class_names import bad_class_names
from pipeline.config.block import Block, parse_block
from pipeline.config.network import (
    NO_ADAPTATION,
    AdaptParams,
    EmbedParams,
    ImageParams,
    MethodParams,
    ModelParams,
    PositiveInt,
    Share,
    TrainParams,
)
from pipeline.config.planned import Planned, auto_knobs, planned_knobs
from pipeline.config.rounds import AnnotationParams, LoopParams, WatchParams
from pipeline.errors import ConfigError
from pipeline.reading import read
from pipeline.records.regions import Grid, grid_of
from pipeline.types import MAX_CLASSES, UNKNOWN

__all__ = [
    "AUTO_KNOBS",
    "NO_ADAPTATION",
    "PLANNED_KNOBS",
    "AcquireParams",
    "AdaptParams",
    "AnnotationParams",
    "DomainParams",
    "EmbedParams",
    "ImageParams",
    "LoopParams",
    "Members",
    "MethodParams",
    "ModelParams",
    "Params",
    "PositiveInt",
    "PredictParams",
    "Share",
    "TrainParams",
    "WatchParams",
    "check_domain_name",
    "left_to_the_plan",
    "load_params",
    "parse_params",
]

WEIGHTS_KNOBS = ("encoder_weights", "normalisation")
DOMAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class DomainParams(Block):
    """What one domain overrides; an empty block takes the general values."""

    query_size: PositiveInt | None = None
    """Samples, or regions, per query here; null = acquire.query_size."""
    budget: Annotated[int, Field(ge=0)] | None = None
    """Answers allowed here; null = loop.budget."""


Members = Literal["none", "flips", "dropout", "snapshots"]


class PredictParams(Block):
    """How unsure the teacher is about an image."""

    members: Members = "none"
    """Beside the teacher as it is: none; its mirrored, smaller and larger views; 8 passes with its
    dropout; the teacher after 1/3 and 2/3 of the steps. All predictions are then the mean, and
    `bald` is scored."""
    aggregate: Literal["top_mean", "mean", "window_max", "class_balanced"] = "top_mean"
    """From pixels to the image: mean over the acquire.top_share most uncertain, over all, over the
    worst window of 1/8 of the sides; or mean over the predicted classes."""
    exclude_boundaries: bool = False
    """Whether pixels close to a predicted boundary (0.75 % of the diagonal) are left out."""


class AcquireParams(Block):
    """Which images people are asked for."""

    strategy: str = "default"
    """A row of pipeline.acquisition.STRATEGIES, or default: what measured best for the unit."""
    query_unit: Literal["image", "region", "correction"] = "image"
    """What people are asked for: whole images, rectangular regions of any of them, or to correct
    only what is wrong in a pre-annotation, where all else stays unlabelled."""
    region_size_px: Annotated[int, Field(ge=4)] = 16
    """Side of a region, about, where an image has image.height_px x width_px pixels, as in
    `ssl-loop backtest --region-size`: every image is cut evenly into as many as fit there."""
    query_size: Planned[PositiveInt] = 8
    """Samples per query (b); with query_unit: region, regions."""
    audit_share: Share = 0.2
    """Share of a query drawn uniformly at random: an unbiased look at the domain."""
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """An image's score is the mean over this share of its most uncertain pixels."""
    prefilter: PositiveInt = 8
    """Strategies in two steps (`..._k_center`) look at the first `prefilter * b` of the first."""
    strategy_unit_of_gain: Literal["per_image", "per_minute"] = "per_image"
    """per_minute = scores are divided by the minutes that an image is expected to take people."""
    seed: Annotated[int, Field(ge=0)] = 0
    """For the random share and ties."""


class Params(Block):
    """The whole of params.yaml."""

    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=MAX_CLASSES)]
    """Class names; the position is the class index in every mask."""
    profile: Literal["quick", "balanced", "best"] = "balanced"
    """How much time a plan gives to a training, for every knob that stands at auto."""
    domain: str | None = None
    """The current domain; null until the first is taken in. Written by the loop."""
    domains: dict[str, DomainParams] = Field(default_factory=dict)
    """All domains in order of arrival. Written by the loop."""
    image: ImageParams = ImageParams()
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    method: MethodParams = MethodParams()
    adapt: AdaptParams = AdaptParams()
    embed: EmbedParams = EmbedParams()
    predict: PredictParams = PredictParams()
    acquire: AcquireParams = AcquireParams()
    loop: LoopParams = LoopParams()
    annotation: AnnotationParams = AnnotationParams()
    watch: WatchParams = WatchParams()

    @field_validator("classes", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if bad := bad_class_names(value):
            raise ValueError("; ".join(bad))
        return value

    @model_validator(mode="after")
    def _current_domain_is_known(self) -> Params:
        for name in self.domains:
            check_domain_name(name)
        if self.domain is not None and self.domain not in self.domains:
            raise ValueError(f"domain {self.domain!r} is not one of domains: {list(self.domains)}")
        return self

    @model_validator(mode="after")
    def _background_is_a_class(self) -> Params:
        name = self.annotation.background
        if name is None:
            return self
        if name not in self.classes:
            raise ValueError(
                f"annotation.background {name!r} is not one of classes: {list(self.classes)}"
            )
        if UNKNOWN in self.classes or len(self.classes) == MAX_CLASSES:
            raise ValueError(
                f"annotation.background {name!r}: people must be able to say {UNKNOWN!r} beside "
                f"the classes; have none of that name, and at most {MAX_CLASSES - 1}"
            )
        return self

    @model_validator(mode="after")
    def _snapshots_are_kept(self) -> Params:
        if self.predict.members == "snapshots" and not self.train.keep_snapshots:
            raise ValueError("predict.members: snapshots needs train.keep_snapshots: true")
        return self

    def with_knobs(self, **blocks: Mapping[str, Any]) -> Params:
        """A copy with other values of some knobs, `with_knobs(train={"steps": 3})`; not checked."""
        changed = {
            name: getattr(self, name).model_copy(update=dict(knobs))
            for name, knobs in blocks.items()
        }
        return self.model_copy(update=changed)

    def with_method(self, name: str) -> Params:
        """A copy under another method, with all its knobs but what is this one's own.

        That is its options and its second network: a baseline has the same knobs otherwise.
        """
        if name == self.method.name:
            return self
        return self.with_knobs(method={"name": name, "options": {}, "network_perturbation": "none"})

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def grid(self) -> Grid | None:
        """The regions of every image; None where people are asked about whole images."""
        if self.acquire.query_unit != "region":
            return None
        size = (self.image.height_px, self.image.width_px)
        return grid_of(size, self.acquire.region_size_px, finest=size)

    def query_size(self, domain: str) -> int:
        """Samples per query in `domain`."""
        return self.domains[domain].query_size or self.acquire.query_size

    def budget(self, domain: str) -> int | None:
        """Answers allowed in `domain`; None where nobody set a budget."""
        own = self.domains[domain].budget
        return self.loop.budget if own is None else own


PLANNED_KNOBS = planned_knobs(Params)
"""What a plan may set, such as train.steps; each may stand at auto."""
AUTO_KNOBS = (
    *PLANNED_KNOBS,
    *(f"{block}.{name}" for block in ("model", "embed") for name in WEIGHTS_KNOBS),
)
"""Beside them what pretrained weights decide: all that a new workspace leaves to the loop."""


def left_to_the_plan(path: Path) -> dict[str, str]:
    """Of PLANNED_KNOBS those that the file at `path` leaves to it, as they stand there."""
    return auto_knobs(Params, read(path, error=ConfigError).yaml())


def check_domain_name(name: str) -> str:
    """The name itself, or ConfigError: it becomes a folder, a DVC stage and a git tag."""
    if not DOMAIN_NAME.fullmatch(name):
        raise ConfigError(
            f"domain name {name!r}: use lower-case letters, digits, '-' and '_', "
            f"starting with a letter or digit (it becomes a folder and a git tag)"
        )
    return name


def load_params(path: Path) -> Params:
    """Parse and validate all of `path`; ConfigError lists every bad key with value and remedy."""
    file = read(path, error=ConfigError, absent="`ssl-loop init DIR` writes one")
    return parse_params(file.yaml(), source=str(path))


def parse_params(raw: Mapping[str, Any], *, source: str = "params.yaml") -> Params:
    """Validate a mapping as `load_params` does a file."""
    return parse_block(Params, raw, source=source)
