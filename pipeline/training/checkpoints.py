"""Where a training stands, so that a killed one goes on at the step where it was.

The folder is named after everything the result hangs on: after an edit of the params, or with
other labels, the key is another and the old state is never resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import pipeline
from pipeline import layout
from pipeline.config.params import Params
from pipeline.files import replacing
from pipeline.models.earlier import ARCHITECTURE
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import say

# Knobs of train that change how a training runs but not what comes out.
WITHOUT_EFFECT = {"checkpoint_every_s", "cache_mib", "decoded_gib", "features_gib"}


class State(NamedTuple):
    """Everything a training needs to go on."""

    step: int
    """Steps done."""
    method: dict[str, Any]
    optimizer: dict[str, Any]
    history: dict[str, list[float]]
    points: list[dict[str, Any]]
    """What the monitor saw, of which the guard's state follows."""
    snapshots: list[dict[str, Tensor]]
    """Weights kept on the way."""


def training_key(
    stage: str,
    params: Params,
    samples: Sequence[Sample],
    encoder_sha256: str | None,
    adaptation: Mapping[str, Any] | None = None,
) -> str:
    """`<stage>-<hash>` of params, the samples' images and masks, encoder weights, code version.

    And of what the training follows at a shift, if anything.
    """
    knobs = params.model_dump(mode="json", include={"classes", "image", "model", "method"})
    knobs["train"] = params.train.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    inputs = [
        (s.sample_id, s.image_sha256, s.mask_sha256, s.labelled, s.unlabelled) for s in samples
    ]
    code = [pipeline.__version__, ARCHITECTURE]
    content = json.dumps([stage, code, knobs, inputs, encoder_sha256, adaptation])
    return f"{stage}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


class Checkpoints:
    """The one checkpoint of a key, replaced as the training goes on."""

    def __init__(self, root: Path, key: str) -> None:
        """Below the workspace `root`."""
        self._folder = root / layout.CHECKPOINTS
        self._file = self._folder / key / "state.pt"
        self._stage = key.rpartition("-")[0]

    def save(self, state: State) -> None:
        """Replace what is there, whole or not at all."""
        with replacing(self._file) as beside:
            torch.save(state._asdict(), beside)

    def load(self) -> State | None:
        """The state to go on from; None if there is none, or it cannot be read."""
        if not self._file.exists():
            return None
        try:
            return State(**torch.load(self._file, map_location="cpu", weights_only=True))
        except Exception as error:  # of a damaged file torch raises whatever it runs into
            # After a power cut a renamed file may still be empty on disk.
            why = " ".join(str(error).split())[:100]
            say(f"{self._file}: unreadable ({why}); starting at step 0")
            return None

    def remove(self) -> None:
        """Remove this stage's checkpoints, those of other keys too: they are of no use any more."""
        for folder in self._folder.glob(f"{self._stage}-*"):
            shutil.rmtree(folder)
