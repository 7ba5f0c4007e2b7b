"""A whole backtest: a folder of labelled images in, figures and a verdict out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.backtest import fast
from pipeline.backtest.features import features_of
from pipeline.backtest.labelled_set import ScoreOn, read_labelled_set
from pipeline.backtest.verdict import summary, verdict
from pipeline.backtest.windows import windows_of
from pipeline.blocks import Block, parse_block
from pipeline.config import AcquireParams, EmbedParams, ImageParams
from pipeline.progress import say


class Settings(Block):
    """What `--set` may change."""

    embed: EmbedParams = Field(default_factory=EmbedParams)
    image: ImageParams = Field(default_factory=lambda: ImageParams(height_px=192, width_px=256))
    acquire: AcquireParams = Field(default_factory=AcquireParams)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for."""

    root: Path
    plan: fast.Plan
    score_on: ScoreOn = "val"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Blocks embed, image, acquire of params.yaml."""
    cache: Path | None = None
    """Where features and finished replays are kept; None: in the user's cache folder."""


def run_fast(request: Request) -> dict[str, Any]:
    """The result as JSON has it; what was finished before is not repeated."""
    asked = parse_block(Settings, request.settings, source="--set")
    data = read_labelled_set(request.root, request.score_on)
    plan = request.plan
    windows = windows_of((asked.image.height_px, asked.image.width_px), plan.region_px)
    fast.check(plan, len(data.pool), windows.count)
    if asked.embed.encoder_weights is None:
        say(
            "embed.encoder_weights is null: features of a random encoder, of which little can be "
            "learnt; --set embed.encoder_weights=FILE, or hub"
        )
    folder = request.cache or default_cache()
    pool, scored = features_of(data, asked.embed, asked.image, folder)
    bench = fast.Bench(data=data, pool=pool, scored=scored, acquire=asked.acquire, windows=windows)
    curves = fast.run(bench, plan, folder / pool.key)
    full = bench.full_supervision(plan.seeds)
    found = summary(curves, fast.labels_of(plan, len(data.pool), windows.count), full)
    return {
        "data": request.root.resolve().name,
        "mode": "fast",
        "query_unit": "image" if plan.region_px is None else "region",
        "labels_unit": "images" if plan.region_px is None else "% of the pool's pixels",
        "score_on": request.score_on,
        "num_pool": len(data.pool),
        "num_scored": len(data.scored),
        "num_seeds": plan.seeds,
        "default": asked.acquire.strategy,
        "encoder": _named(asked.embed),
        "full_supervision_miou": round(full, 6),
        "strategies": found,
        "verdict": verdict(found),
    }


def default_cache() -> Path:
    """`backtest` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ssl-loop" / "backtest"


def _named(embed: EmbedParams) -> str:
    given = embed.encoder_weights
    weights = "random weights" if given is None else Path(given).name
    return f"{embed.encoder}, {weights}"
