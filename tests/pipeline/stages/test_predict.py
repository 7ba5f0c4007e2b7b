"""Predictions for the pool of the current domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch import nn

from pipeline import layout
from pipeline.config.params import Params
from pipeline.errors import ModelError
from pipeline.models import LoadedModel, save_untrained
from pipeline.stages import predict, train_teacher
from pipeline.uncertainty.aggregate import AGGREGATES

COLUMNS = [
    "sample_id", "domain", "labelled", "entropy", "mean_entropy", "mean_confidence",
    "reliable_share", "margin", "least_confidence", "boundary", "regions",
    "class_0", "class_1", "class_2", "entropy_0", "entropy_1", "entropy_2",
]  # fmt: skip


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
    for column in COLUMNS[3:9]:
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


DROPPING = {"name": "deeplabv3plus"}
KEEPING = {"keep_snapshots": True}


@pytest.mark.parametrize(
    ("blocks", "more"),
    [
        ({"predict": {"members": "flips"}}, ["bald"]),
        ({"predict": {"members": "dropout"}, "model": DROPPING}, ["bald"]),
        (
            {"predict": {"members": "snapshots"}, "train": KEEPING},
            ["bald", "disagreement", "instability"],
        ),
        ({"train": KEEPING, "method": {"name": "supervised"}}, ["instability"]),
    ],
    ids=str,
)
def test_scores_are_there_where_they_can_be_had(
    make_workspace, tiny_params, blocks: dict[str, Any], more: list[str]
) -> None:
    root, params = make_workspace(2, 2), tiny_params(**blocks)
    train_teacher.run(root, params)
    predict.run(root, params)
    table = pd.read_parquet(root / layout.SCORES)
    assert list(table.columns) == [*COLUMNS[:11], *more, *COLUMNS[11:]]
    for name in more:
        assert table[name].between(0, 1).all()
        assert table[name].max() > 1e-6


def test_snapshots_that_are_not_there_are_asked_for(make_workspace, tiny_params) -> None:
    root = make_workspace(2, 1)
    train_teacher.run(root, tiny_params())
    params = tiny_params(predict={"members": "snapshots"}, train=KEEPING)
    with pytest.raises(ModelError, match=r"no snapshots.*dvc repro --force train_teacher"):
        predict.run(root, params)


def test_the_way_from_pixels_to_the_image_is_chosen(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_workspace(1, 0)
    config = {"image": tiny_params().image.model_dump(), "normalisation": "symmetric"}
    bright = nn.Conv2d(3, 3, 1)
    nn.init.constant_(bright.weight, 0.0)
    nn.init.constant_(bright.weight[1], 1.0)
    monkeypatch.setattr(predict, "load_model", lambda _: LoadedModel(bright, config))
    found = {}
    for aggregate in AGGREGATES:
        for exclude in (False, True):
            chosen = {"aggregate": aggregate, "exclude_boundaries": exclude}
            predict.run(root, tiny_params(predict=chosen))
            table = pd.read_parquet(root / layout.SCORES)
            found[aggregate, exclude] = table.entropy[0]
    assert found["mean", False] == pytest.approx(table.mean_entropy[0])
    assert len(set(found.values())) == 2 * len(AGGREGATES)


def test_twice_gives_equal_bytes(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(2, 1)
    train_teacher.run(root, tiny_params())
    runs = []
    for _ in range(2):
        predict.run(root, tiny_params())
        files = sorted(p for p in (root / "predictions").rglob("*") if p.is_file())
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


def test_a_picture_that_cannot_be_written_stops_it_with_its_words(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing goes on beside the next image; the first, the last and all between are heard of."""
    root: Path = make_workspace(2, 5)
    params: Params = tiny_params()
    train_teacher.run(root, params)
    writes = predict._write_images
    for broken in ("day/00", "day/03", "day/06"):

        def full(where: Path, sample, predicted, broken: str = broken) -> None:
            if sample.sample_id == broken:
                raise OSError(28, "No space left on device")
            writes(where, sample, predicted)

        monkeypatch.setattr(predict, "_write_images", full)
        with pytest.raises(OSError, match="No space left"):
            predict.run(root, params)
        assert not (root / layout.SCORES).exists(), "no table speaks of what is not there"
    monkeypatch.setattr(predict, "_write_images", writes)
    predict.run(root, params)
    assert len(list((root / layout.PSEUDO_LABELS / "day").glob("*.png"))) == 7
