"""Stage train_teacher: the method of params.yaml, from labelled and unlabelled images."""

from __future__ import annotations

from pathlib import Path

from pipeline import layout
from pipeline.config.params import Params
from pipeline.training import train_stage


def run(root: Path, params: Params) -> None:
    """Write models/teacher (the averaged network) and metrics/train_teacher.json."""
    train_stage("train_teacher", root, params, method_name=params.method.name, model=layout.TEACHER)
