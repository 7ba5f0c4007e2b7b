"""Batches of everything in a folder's manifest."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline import layout
from pipeline.config.params import Params
from pipeline.data.dataset import ImageStore
from pipeline.records.manifest import read_manifest
from pipeline.training.batches import Batches


def batches_of(root: Path, params: Params, /, **changes: object) -> Batches:
    """On the CPU, with one strong view; `changes` of what `Batches` takes."""
    samples = read_manifest(root / layout.MANIFEST)
    facts = {
        "store": ImageStore(root, params.image, cache_mib=10),
        "params": params,
        "labelled": [s for s in samples if s.labelled],
        "unlabelled": [s for s in samples if s.unlabelled],
        "num_strong_views": 1,
        "device": torch.device("cpu"),
    }
    return Batches(**{**facts, **changes})
