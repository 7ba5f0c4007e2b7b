from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.clicks.marks import BoxMark, Click
from pipeline.clicks.patches.prepared_image import (
    MOST_PIXELS,
    LookedAt,
    PreparedImage,
    prepared,
    reduced,
)
from pipeline.clicks.recent_images import RecentImages
from pipeline.clicks.simulated_clicker import iou
from pipeline.clicks.teacher_engine import TeacherEngine
from pipeline.config.params import Params
from pipeline.data.formats.images import load_image
from tests.pipeline.clicks.conftest import SIZE, disc_HW

CLICK = Click(30.5, 55.5)


def test_one_click_on_a_disc_before_there_is_a_teacher(
    tmp_path: Path, picture: Path, tiny_params: Params
) -> None:
    found = TeacherEngine(tmp_path, tiny_params).mask(picture, [CLICK], 1)
    assert iou(found, disc_HW()) > 0.9


def test_a_negative_click_takes_away_and_a_positive_one_adds(
    tmp_path: Path, picture: Path, tiny_params: Params
) -> None:
    engine = TeacherEngine(tmp_path, tiny_params)
    assert engine.mask(picture, [CLICK, Click(4, 20)], 1)[4, 20]
    found = engine.mask(picture, [CLICK, Click(30, 62, positive=False)], 1)
    assert not found[30, 62]
    assert found[30, 55]


def test_clicks_in_one_patch_are_told_apart(
    tmp_path: Path, picture: Path, tiny_params: Params
) -> None:
    engine = TeacherEngine(tmp_path, tiny_params)
    patch_hw = engine._images.get(picture).patch_hw
    rows, columns = np.nonzero(patch_hw == patch_hw[30, 55])
    refused = next(place for place in zip(rows, columns, strict=True) if place != (30, 55))
    found = engine.mask(picture, [CLICK, Click(*map(float, refused), positive=False)], 1)
    assert found[30, 55]
    assert not found[refused]


def test_nothing_lies_outside_of_a_box(tmp_path: Path, picture: Path, tiny_params: Params) -> None:
    found = TeacherEngine(tmp_path, tiny_params).mask(picture, [BoxMark(20, 45, 40, 60)], 1)
    assert found[30, 52]
    found[20:40, 45:60] = False
    assert not found.any()


def test_a_surer_teacher_draws_a_better_mask(
    tmp_path: Path, picture: Path, tiny_params: Params
) -> None:
    """The same colours everywhere, so that class probabilities alone tell the thing."""
    engine = TeacherEngine(tmp_path, tiny_params)
    pixels = np.full((*SIZE, 3), 90, np.uint8)
    reached = []
    for sure in (0.4, 0.6, 0.95):
        probs = np.full((3, *SIZE), (1 - sure) / 2, np.float32)
        probs[0], probs[1] = (
            np.where(disc_HW(), (1 - sure) / 2, sure),
            np.where(disc_HW(), sure, (1 - sure) / 2),
        )
        image = prepared(pixels, LookedAt(np.zeros((4, 18, 24), np.float32), probs))
        engine._images = RecentImages(2**20, lambda _, image=image: image)
        reached.append(iou(engine.mask(picture, [CLICK], 1), disc_HW()))
    assert reached == sorted(reached)
    assert reached[-1] > max(0.9, reached[0] + 0.1)


def _image(side: int) -> PreparedImage:
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return prepared(pixels, LookedAt(np.zeros((2, 8, 8), np.float32), None))


def test_a_large_image_is_cut_into_patches_at_a_smaller_size() -> None:
    image = np.zeros((1100, 1500, 3), np.uint8)
    assert reduced(image).shape[0] * reduced(image).shape[1] <= MOST_PIXELS
    assert reduced(image[:100]) is not None
    assert reduced(image[:100]).shape == (100, 1500, 3)


def test_features_vary_alike() -> None:
    cells = np.random.default_rng(0).normal(size=(20, 12, 12)).astype(np.float32)
    cells[0] *= 50
    pixels = np.random.default_rng(1).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    found = prepared(pixels, LookedAt(cells, None)).feature_ND
    assert found.shape[1] == 16
    assert np.allclose(found.std(0), 1, atol=0.02)


def test_only_the_last_used_images_stay_in_memory(tmp_path: Path) -> None:
    images = [tmp_path / name for name in "abc"]
    for image in images:
        image.write_text("x")
    made = []

    def make(image: Path) -> PreparedImage:
        made.append(image.name)
        return held

    held = _image(32)
    recent = RecentImages(2 * held.num_bytes, make)
    for which in (0, 1, 0, 2, 0, 1):
        recent.get(images[which])
    assert made == ["a", "b", "c", "b"]


def test_the_image_is_held_upright_as_it_is(picture: Path) -> None:
    pixels = load_image(picture)
    found = prepared(pixels, LookedAt(np.zeros((2, 8, 8), np.float32), None))
    assert found.size == SIZE
    assert found.image_HWC is pixels
