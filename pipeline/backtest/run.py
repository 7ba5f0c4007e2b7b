"""A whole backtest: a folder of labelled images in, figures and a verdict out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.acquisition import DEFAULT
from pipeline.backtest import by_training, fast
from pipeline.backtest.by_minutes import counted
from pipeline.backtest.plan import Measured, Plan
from pipeline.backtest.significance import summary, verdict
from pipeline.config.block import Block, parse_block
from pipeline.config.params import Params
from pipeline.data.formats import FORMATS
from pipeline.data.labelled_folder import LabelledSet, ScoreOn, read_labelled_set


class Mode(NamedTuple):
    """How models are trained in a replay."""

    settings: type[Block]
    measure: Callable[[LabelledSet, Plan, Any, Path], Measured]
    """Given the set, the plan, settings and the folder where finished work is kept."""
    squeezes: bool
    """Whether images are seen whole and squeezed, whatever the scale of the workspace."""


MODES = {
    "fast": Mode(fast.FeatureSettings, fast.measure, squeezes=True),
    "full": Mode(by_training.TrainingSettings, by_training.measure, squeezes=False),
}


LABELS = {
    "image": "images",
    "region": "% of the pool's pixels",
    "correction": "images corrected",
}


@dataclass(frozen=True, kw_only=True)
class BacktestRequest:
    """A user's request for a backtest."""

    root: Path
    plan: Plan
    mode: str = "fast"
    """A row of MODES."""
    score_on: ScoreOn = "val"
    file_format: str = "folder"
    """A row of FORMATS: how the files lie under `root`."""
    workspace: Params | None = None
    """Defaults for knobs not in `settings`, and for classes not in `root`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Blocks of params.yaml that the mode knows."""
    cache: Path | None = None
    """Where finished work is kept; None: in the user's cache folder."""


def run(request: BacktestRequest) -> dict[str, Any]:
    """Run a backtest; its result as JSON. Finished replays are not repeated."""
    mode = MODES[request.mode]
    plan, workspace = request.plan, request.workspace
    knobs = workspace.model_dump(include=set(mode.settings.model_fields)) if workspace else {}
    if mode.squeezes and workspace:
        knobs["image"]["scale"] = None
    asked: Any = parse_block(mode.settings, _changed(knobs, request.settings), source="--set")
    data = read_labelled_set(
        FORMATS[request.file_format](request.root),
        request.score_on,
        classes=workspace.classes if workspace else None,
    )
    measured = mode.measure(data, plan, asked, request.cache or default_cache())
    found = summary(measured.curves, measured.labels, measured.full_supervision)
    for name, by_seed in (measured.points or {}).items():
        found[name] |= counted(by_seed)
    return {
        "data": request.root.resolve().name,
        "mode": request.mode,
        "query_unit": plan.unit,
        "labels_unit": LABELS[plan.unit],
        "score_on": request.score_on,
        "num_pool": len(data.pool),
        "num_scored": len(data.scored),
        "num_seeds": plan.seeds,
        "default": plan.strategy_of(DEFAULT, asked.acquire),
        "model": measured.model,
        "full_supervision_miou": round(measured.full_supervision, 6),
        "strategies": found,
        "verdict": verdict(found),
    }


def default_cache() -> Path:
    """`backtest` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ssl-loop" / "backtest"


def _changed(knobs: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested blocks with some values replaced."""
    found = dict(knobs)
    for key, value in changes.items():
        below = found.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = _changed(below, value)
        found[key] = value
    return found
