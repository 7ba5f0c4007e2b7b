"""Stage train_baseline: labels alone, the line that the teacher has to beat."""

from __future__ import annotations

from pathlib import Path

from pipeline import layout
from pipeline.config.params import Params
from pipeline.training import train_stage


def run(root: Path, params: Params) -> None:
    """Write models/baseline and metrics/train_baseline.json."""
    train_stage("train_baseline", root, params, method_name="supervised", model=layout.BASELINE)
