"""Predictions for the pool of the current domain."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline import layout
from pipeline.config import Params
from pipeline.models import save_untrained
from pipeline.stages import predict, train_teacher
from pipeline.stages.predict import predict_pixels, top_mean

COLUMNS = [
    "sample_id", "domain", "labelled", "entropy", "mean_entropy", "mean_confidence",
    "reliable_share", "boundary", "regions",
    "class_0", "class_1", "class_2", "entropy_0", "entropy_1", "entropy_2",
]  # fmt: skip


def test_confidence_and_entropy_by_hand() -> None:
    probs_KHW = torch.tensor([[[0.5, 1.0]], [[0.5, 0.0]]])
    predicted = predict_pixels(probs_KHW.log().clamp(min=-200), (1, 2))
    assert predicted.confidence_HW.tolist() == [[0.5, 1.0]]
    assert predicted.classes_HW[0, 1] == 0
    torch.testing.assert_close(predicted.entropy_HW, torch.tensor([[1.0, 0.0]]))


def test_entropy_of_three_classes_is_over_log_3() -> None:
    probs_KHW = torch.tensor([0.7, 0.2, 0.1])[:, None, None]
    expected = -sum(p * math.log(p) for p in (0.7, 0.2, 0.1)) / math.log(3)
    assert predict_pixels(probs_KHW.log(), (1, 1)).entropy_HW.item() == pytest.approx(expected)


def test_entropy_by_class_is_weighed_by_probability() -> None:
    probs_KHW = torch.tensor([[[0.5, 0.9]], [[0.5, 0.1]]])
    predicted = predict_pixels(probs_KHW.log(), (1, 2))
    doubt = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    expected = [(0.5 + 0.9 * doubt) / 2, (0.5 + 0.1 * doubt) / 2]
    assert predicted.entropy_K.tolist() == pytest.approx(expected)
    assert float(predicted.entropy_K.sum()) == pytest.approx(float(predicted.entropy_HW.mean()))


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    logits_KHW = torch.rand(4, 8, 8)
    whole = predict_pixels(logits_KHW, (50, 30))
    monkeypatch.setattr(predict, "ROWS_PX", 7)
    for one, other in zip(whole, predict_pixels(logits_KHW, (50, 30)), strict=True):
        torch.testing.assert_close(one, other)


def test_the_top_share_is_what_it_says() -> None:
    values_HW = torch.arange(20.0).reshape(4, 5)
    assert top_mean(values_HW, 0.1) == 18.5
    assert top_mean(values_HW, 1.0) == 9.5
    assert top_mean(values_HW, 0.001) == 19.0


def test_tables_and_images(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(2, 3)
    params: Params = tiny_params()
    train_teacher.run(root, params)
    stale = root / layout.PSEUDO_LABELS / "old" / "a.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    predict.run(root, params)
    table = pd.read_parquet(root / layout.SCORES)
    assert list(table.columns) == COLUMNS
    assert table.sample_id.tolist() == [f"day/{number:02}" for number in range(5)]
    assert table.labelled.tolist() == [True, True, False, False, False]
    shares = table[["class_0", "class_1", "class_2"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    for column in ("entropy", "mean_entropy", "mean_confidence", "reliable_share"):
        assert table[column].between(0, 1).all()
    assert (table.entropy >= table.mean_entropy).all()
    by_class = table[["entropy_0", "entropy_1", "entropy_2"]].sum(axis=1)
    np.testing.assert_allclose(by_class, table.mean_entropy, rtol=1e-4)
    assert not stale.exists()
    for row in table.itertuples():
        label, confidence, uncertainty = (
            np.array(Image.open(root / layout.sample_png(folder, row.sample_id)))
            for folder in predict.FOLDERS
        )
        assert label.shape == confidence.shape == uncertainty.shape == (60, 70)
        assert label.dtype == confidence.dtype == uncertainty.dtype == np.uint8
        assert (label == 1).mean() == pytest.approx(row.class_1)
        assert confidence.mean() / 255 == pytest.approx(row.mean_confidence, abs=2e-3)
        assert uncertainty.mean() / 255 == pytest.approx(row.mean_entropy, abs=2e-3)


def test_twice_gives_equal_bytes(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(2, 1)
    train_teacher.run(root, tiny_params())
    runs = []
    for _ in range(2):
        predict.run(root, tiny_params())
        files = sorted(p for p in (root / layout.PREDICTIONS).rglob("*") if p.is_file())
        runs.append([(path, path.read_bytes()) for path in files])
    assert runs[0] == runs[1]


def test_untrained_writes_empty_outputs(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(0, 3)
    save_untrained(root / layout.TEACHER, why="no labels")
    predict.run(root, tiny_params())
    table = pd.read_parquet(root / layout.SCORES)
    assert list(table.columns) == COLUMNS
    assert table.empty
    for folder in predict.FOLDERS:
        assert [path.name for path in (root / folder).iterdir()] == [".empty"]
