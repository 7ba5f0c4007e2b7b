"""What libraries outside Python read: images, tables of scores, tensors, models, the ledger."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline import layout
from pipeline.data.formats.images import load_image, load_mask
from pipeline.metrics.per_image import Areas, read_areas, write_areas
from tests.fuzz.reader import Reader, json_of

_STATE_FILE = (layout.CHECKPOINTS / "stage-key/state.pt").as_posix()


@functools.cache
def _areas() -> list[bytes]:
    file = Path(f"/tmp/areas-{os.getpid()}.npz")
    each = np.ones((2, 3))
    write_areas(file, {"day": (["day/a", "day/b"], Areas(each, each, each))})
    try:
        return [file.read_bytes()]
    finally:
        file.unlink()


def _image(mode: str, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) % 3).convert(mode).save(
        file, form
    )
    return file.getvalue()


def _scores(path: Path) -> Any:
    from pipeline.stages.acquire import _read_scores

    return _read_scores(path, ["day/a"], 2)


@functools.cache
def _score_table() -> list[bytes]:
    import pandas as pd

    import pipeline.stages.acquire  # noqa: F401 - torch takes its time, and here it may

    columns = ("entropy_0", "entropy_1", "class_0", "class_1", "boundary", "regions")
    file = io.BytesIO()
    pd.DataFrame({"sample_id": ["day/a"], **{name: [0.5] for name in columns}}).to_parquet(file)
    return [file.getvalue()]


def _weights(path: Path) -> Any:
    from pipeline.models.encoders import read_tensors

    return read_tensors(path)


@functools.cache
def _tensors() -> list[bytes]:
    import torch
    from safetensors.torch import save

    import pipeline.models.encoders  # noqa: F401

    return [save({"a": torch.ones(2, 3), "b": torch.zeros(1)})]


def _state(path: Path) -> Any:
    from pipeline.training.checkpoints import Checkpoints

    return Checkpoints(path.parents[3], "stage-key").load()


@functools.cache
def _states() -> list[bytes]:
    import torch

    import pipeline.models.encoders
    import pipeline.training.checkpoints  # noqa: F401

    state = {"step": 3, "method": {"a": torch.ones(2)}, "optimizer": {}, "history": {"loss": [1.0]}}
    file = io.BytesIO()
    torch.save({**state, "points": [], "snapshots": []}, file)
    return [file.getvalue()]


def _model(path: Path) -> Any:
    from pipeline.models import load_model

    return load_model(path.parent)


@functools.cache
def _models() -> list[bytes]:
    import pipeline.models  # noqa: F401

    untrained = {"trained": False, "why": "no labels"}
    lost = {"trained": True, "classes": ["a", "b"], "image": {}, "model": {"name": "pspnet_mini"}}
    return json_of(untrained, lost)()


def _ledger(path: Path) -> Any:
    from db.repository import domains
    from db.session import open_ledger, session_scope

    ledger = open_ledger(path)
    try:
        with session_scope(ledger, read_only=True) as session:
            return list(domains(session))
    finally:
        ledger.close()
        for beside in path.parent.glob(f"{path.name}-*"):
            beside.unlink()


@functools.cache
def _ledgers() -> list[bytes]:
    from db.session import open_ledger

    path = Path(f"/tmp/ledger-{os.getpid()}.db")
    open_ledger(path).close()
    try:
        return [path.read_bytes()]
    finally:
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()


READERS = {
    reader.name: reader
    for reader in (
        Reader(name="val areas", valid=_areas, read=read_areas, native=True),
        Reader(name="scores", valid=_score_table, read=_scores, native=True),
        Reader(
            name="image",
            file="file.png",
            valid=lambda: [
                _image("RGB", "PNG"),
                _image("L", "TIFF"),
                _image("RGB", "JPEG"),
                _image("P", "GIF"),
                _image("RGB", "WEBP"),
            ],
            read=lambda path: load_image(path, 64),
            native=True,
        ),
        Reader(
            name="mask",
            file="file.png",
            valid=lambda: [_image("L", "PNG"), _image("P", "PNG")],
            read=lambda path: load_mask(path, 3, 64),
            native=True,
        ),
        Reader(name="weights", file="file.safetensors", valid=_tensors, read=_weights, native=True),
        Reader(name="weights of torch", file="file.pt", valid=_states, read=_weights, native=True),
        Reader(name="training state", file=_STATE_FILE, valid=_states, read=_state, native=True),
        Reader(
            name="model",
            file="teacher/config.json",
            named="teacher",
            valid=_models,
            read=_model,
            native=True,
        ),
        Reader(name="ledger", file="ledger.db", valid=_ledgers, read=_ledger, native=True),
    )
}
