"""The fast backtest: replays with a small head on features of a frozen encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from pipeline.backtest.corrections_on_features import CorrectionBench
from pipeline.backtest.on_features import FeatureBench, run
from pipeline.backtest.plan import Measured, Plan
from pipeline.campaign.corrections import Act
from pipeline.config.block import Block
from pipeline.config.params import AcquireParams, EmbedParams, ImageParams
from pipeline.data.labelled_folder import LabelledSet
from pipeline.probe.features import features_of, named, whole_images
from pipeline.probe.windows import windows_of


class CorrectSettings(Block):
    """How people correct, and what is made of it; a replay's alone."""

    act: Act = "click"
    """A click labels a cell of 4x4 pixels of a wrong area, a stroke a straight line through it."""
    uncorrected_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How likely a cell that people saw and left alone teaches what was shown there, against a
    corrected one: 0 = it stays unlabelled."""
    spread_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How likely a cell that looks like a corrected one, and was shown as the same class beside it,
    teaches the corrected class; 0 = nothing is spread."""
    spread_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.7
    """Cosine of the features from which on a cell looks like a corrected one."""


class FeatureSettings(Block):
    """What `--set` may change."""

    embed: EmbedParams = Field(default_factory=EmbedParams)
    image: Annotated[ImageParams, AfterValidator(whole_images)] = Field(
        default_factory=lambda: ImageParams(height_px=192, width_px=256)
    )
    acquire: AcquireParams = Field(default_factory=AcquireParams)
    correct: CorrectSettings = Field(default_factory=CorrectSettings)


def measure(data: LabelledSet, plan: Plan, asked: FeatureSettings, cache: Path) -> Measured:
    """Replays of the plan with a small head; features and replays are kept in `cache`."""
    windows = windows_of((asked.image.height_px, asked.image.width_px), plan.region_px)
    plan.check(len(data.pool), windows.count)
    pool, scored = features_of(data, asked.embed, asked.image, cache)
    shared: dict[str, Any] = {
        "data": data,
        "pool": pool,
        "scored": scored,
        "acquire": asked.acquire,
        "windows": windows,
    }
    whole = FeatureBench(**shared)
    bench = whole
    if plan.unit == "correction":
        bench = CorrectionBench(**shared, **asked.correct.model_dump())
    kept = cache / pool.key
    ceiling = run(whole, plan.all_labels(len(data.pool)), kept)["random"]
    points = run(bench, plan, kept)
    return Measured(
        curves={
            name: [[point.miou for point in course] for course in by_seed]
            for name, by_seed in points.items()
        },
        points=points,
        labels=plan.labels(len(data.pool), windows.count),
        full_supervision=float(np.mean([course[0].miou for course in ceiling])),
        model=f"a small head on features of a frozen encoder ({named(asked.embed)})",
    )
