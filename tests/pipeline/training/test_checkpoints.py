"""Keys, and what is resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pipeline
from pipeline.records.manifest import Sample
from pipeline.training.checkpoints import Checkpoints, State, training_key

SAMPLE = Sample(
    sample_id="day/a",
    domain="day",
    split="pool",
    image="i",
    image_sha256="1" * 64,
    mask="m",
    mask_sha256="2" * 64,
    origin="annotated",
)


@pytest.fixture
def state() -> State:
    point = {"step": 2, "miou": None, "precision": [0.5, None], "coverage": [0.1, 0.2]}
    optimizer: dict[str, object] = {"state": {}, "param_groups": []}
    return State(
        3, {"w": torch.rand(2)}, optimizer, {"loss": [1.0]}, [point], [{"w": torch.rand(2)}]
    )


def test_everything_that_decides_the_result_decides_the_key(
    tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny_params()
    other_mask = replace(SAMPLE, mask_sha256="3" * 64)
    keys = [
        training_key("train_teacher", params, [SAMPLE], None),
        training_key("train_baseline", params, [SAMPLE], None),
        training_key("train_teacher", params, [SAMPLE], "encoder"),
        training_key("train_teacher", params, [other_mask], None),
        training_key("train_teacher", params, [], None),
        training_key("train_teacher", params, [SAMPLE], None, {"start": "4" * 64}),
        training_key("train_teacher", tiny_params(train={"seed": 1}), [SAMPLE], None),
        training_key("train_teacher", tiny_params(method={"ema_decay": 0.5}), [SAMPLE], None),
        training_key("train_teacher", tiny_params(model={"name": "unet"}), [SAMPLE], None),
    ]
    monkeypatch.setattr(pipeline, "__version__", "99")
    keys.append(training_key("train_teacher", params, [SAMPLE], None))
    assert len(set(keys)) == len(keys)


def test_what_does_not_change_the_result_does_not_change_the_key(tiny_params) -> None:
    keys = {
        training_key("train_teacher", params, [SAMPLE], None)
        for params in (
            tiny_params(),
            tiny_params(train={"checkpoint_every_s": 1.0, "cache_mib": 1}),
            tiny_params(acquire={"query_size": 2}, loop={"budget": 3}),
        )
    }
    assert len(keys) == 1


def test_what_was_saved_is_loaded(tmp_path: Path, state: State) -> None:
    checkpoints = Checkpoints(tmp_path, "train_teacher-0")
    assert checkpoints.load() is None
    checkpoints.save(state)
    loaded = checkpoints.load()
    assert loaded is not None
    assert (loaded.step, loaded.history) == (3, {"loss": [1.0]})
    assert loaded.points == state.points
    assert torch.equal(loaded.snapshots[0]["w"], state.snapshots[0]["w"])
    assert torch.equal(loaded.method["w"], state.method["w"])
    assert Checkpoints(tmp_path, "train_teacher-1").load() is None
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert files == ["state.pt"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut off"])
def test_an_unreadable_one_starts_anew_and_says_so(
    tmp_path: Path, state: State, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, "train_teacher-0")
    checkpoints.save(state)
    next(tmp_path.rglob("state.pt")).write_bytes(content)
    assert checkpoints.load() is None
    assert "unreadable" in capsys.readouterr().err


def test_removal_takes_the_stages_other_keys_and_leaves_other_stages(
    tmp_path: Path, state: State
) -> None:
    mine, stale, other = (
        Checkpoints(tmp_path, key)
        for key in ("train_teacher-0", "train_teacher-1", "train_baseline-0")
    )
    for checkpoints in (mine, stale, other):
        checkpoints.save(state)
    mine.remove()
    assert [c.load() is None for c in (mine, stale, other)] == [True, True, False]
