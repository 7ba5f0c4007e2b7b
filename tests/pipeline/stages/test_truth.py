"""Trainings know nothing of the masks that people have not given yet."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline import layout
from pipeline.backtest import replay_round, take_in
from pipeline.data.formats.images import save_mask
from pipeline.data.ingest import validate_and_stage
from pipeline.files import sha256_file
from tests.pipeline.conftest import draw_square

SPLITS = ["labelled", "labelled", "pool", "pool", "pool", "pool", "val"]


def draw_truth(folder: Path) -> None:
    """All images with all masks, as somebody has them who could answer everything."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for number, split in enumerate(SPLITS):
        image_HWC, mask_HW = draw_square(number, 60, 70)
        Image.fromarray(image_HWC).save(folder / f"images/{number}.png")
        save_mask(folder / f"masks/{number}.png", mask_HW)
        rows.append((number, split))
    with (folder / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split"), *rows])


def train(root: Path, truth: Path, tiny_params, *, hide_truth: bool) -> dict[str, str]:
    """Round 0 from `truth`, which is removed before the trainings; hashes of both models."""
    params = tiny_params(acquire={"query_size": 2})
    validate_and_stage(
        name="day",
        images=truth / "images",
        masks=truth / "masks",
        splits=truth / "splits.csv",
        classes=params.classes,
        existing_domains=(),
        destination=root.with_name(f"{root.name}-incoming"),
    )
    take_in(root, root.with_name(f"{root.name}-incoming") / "day")
    if hide_truth:
        shutil.rmtree(truth)
    replay_round(root, params)
    folders = (layout.BASELINE, layout.TEACHER)
    return {str(folder): sha256_file(root / folder / "model.safetensors") for folder in folders}


@pytest.mark.heavy
def test_removing_the_truth_changes_no_training(tmp_path: Path, tiny_params) -> None:
    truth = tmp_path / "truth"
    draw_truth(truth)
    with_truth = train(tmp_path / "with", truth, tiny_params, hide_truth=False)
    without = train(tmp_path / "without", truth, tiny_params, hide_truth=True)
    assert with_truth == without
    assert len(set(without.values())) == 2
    masks = sorted(path.name for path in (tmp_path / "with" / layout.masks_dir("day")).iterdir())
    assert masks == ["0.png", "1.png", "6.png"]
