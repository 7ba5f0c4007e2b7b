"""One training: batches that depend on (seed, step) alone, one loop, checkpoints to resume from."""

from __future__ import annotations

from pipeline.training.job import train_stage
from pipeline.training.trainer import Trained, TrainingJob, train

__all__ = ["Trained", "TrainingJob", "train", "train_stage"]
