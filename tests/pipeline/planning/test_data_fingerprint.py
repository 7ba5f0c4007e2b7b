"""What a plan knows of images is what they are: sizes, sharpness, widths of objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats.images import save_mask
from pipeline.planning.data_fingerprint import (
    component_widths,
    data_fingerprint,
    detail_scale,
)
from pipeline.records.manifest import Sample


def disc(diameter_px: int, side_px: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:side_px, :side_px] - side_px // 2
    return np.asarray(np.hypot(rows, columns) < diameter_px / 2)


def widest_square(of_class_HW: np.ndarray) -> int:
    """A second, plain measure: the largest square of pixels that fits."""
    for side in range(min(of_class_HW.shape), 0, -1):
        windows = np.lib.stride_tricks.sliding_window_view(of_class_HW, (side, side))
        if windows.all(axis=(-2, -1)).any():
            return side
    return 0


@pytest.mark.parametrize("diameter_px", [5, 11, 21, 41])
def test_a_disc_is_as_wide_as_its_diameter(diameter_px: int) -> None:
    ((area, width),) = component_widths(disc(diameter_px))
    assert area == disc(diameter_px).sum()
    assert width == pytest.approx(diameter_px, abs=1.5)


@pytest.mark.parametrize(("height", "width"), [(3, 40), (40, 3), (9, 9), (64, 64), (64, 7)])
def test_a_bar_is_as_wide_as_its_short_side(height: int, width: int) -> None:
    bar_HW = np.zeros((64, 64), dtype=bool)
    bar_HW[:height, :width] = True
    ((_, found),) = component_widths(bar_HW)
    assert found == pytest.approx(widest_square(bar_HW), abs=1)


def test_parts_count_one_by_one_and_specks_do_not() -> None:
    mask_HW = np.zeros((64, 64), dtype=bool)
    mask_HW[2:5, 2:30] = True
    mask_HW[40:50, 40:50] = True
    mask_HW[60, 60] = mask_HW[61, 61] = True  # touch at a corner: one part of two pixels
    assert sorted(area for area, _ in component_widths(mask_HW)) == [84, 100]
    assert component_widths(np.zeros((8, 8), dtype=bool)) == []


def stripes(period_px: int, side_px: int = 128) -> np.ndarray:
    values = (np.arange(side_px) // (period_px // 2) % 2 * 200).astype(np.uint8)
    return np.repeat(np.tile(values, (side_px, 1))[:, :, None], 3, axis=2)


def test_what_is_fine_needs_every_pixel_and_what_is_coarse_does_not() -> None:
    smooth = np.tile(np.linspace(0, 255, 128).astype(np.uint8)[:, None, None], (1, 128, 3))
    assert detail_scale(stripes(2)) == 1.0
    assert detail_scale(smooth) == 0.25
    assert detail_scale(np.full((40, 40, 3), 7, dtype=np.uint8)) == 0.25
    assert detail_scale(np.zeros((1, 1, 3), dtype=np.uint8)) == 0.25


def test_an_enlarged_image_is_told_from_a_sharp_one() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    enlarged = Image.fromarray(noise).resize((192, 192), Image.Resampling.BICUBIC)
    assert detail_scale(noise) == 1.0
    assert detail_scale(np.asarray(enlarged)) < 1.0


def sample(root: Path, name: str, size: tuple[int, int], mask: np.ndarray | None = None) -> Sample:
    noise = np.random.default_rng(len(name)).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / f"{name}.png")
    if mask is not None:
        save_mask(root / f"{name}-mask.png", mask)
    return Sample(
        sample_id=f"day/{name}",
        domain="day",
        split="pool",
        image=f"{name}.png",
        image_sha256="",
        mask="" if mask is None else f"{name}-mask.png",
        origin="" if mask is None else "annotated",
    )


def test_sizes_masks_and_shapes_are_those_of_the_samples(tmp_path: Path) -> None:
    mask_HW = np.zeros((40, 60), dtype=np.uint8)
    mask_HW[:10] = 255
    mask_HW[20:25, :] = 2
    samples = [
        sample(tmp_path, "a", (40, 60), mask_HW),
        sample(tmp_path, "b", (40, 60)),
        sample(tmp_path, "c", (80, 40)),
    ]
    found = data_fingerprint(tmp_path, samples, ("ground", "never", "crack"), "day")
    assert (found.num_images, found.num_labelled, found.num_unlabelled) == (3, 1, 2)
    assert (found.height_px, found.width_px, found.largest_px) == (40, 60, 3200)
    assert found.several_shapes
    assert found.num_classes == 3
    assert found.detail_scale == 1.0
    assert list(found.extents) == ["ground", "crack"]
    assert not found.shifted
    assert data_fingerprint(tmp_path, samples, ("a", "b", "c"), "dusk").shifted
    assert not data_fingerprint(tmp_path, samples[1:], ("a", "b", "c"), "dusk").shifted
    assert found.extents["crack"].share == pytest.approx(300 / 1800)
    assert found.extents["crack"].width_px == pytest.approx(5, abs=1)
    assert not data_fingerprint(tmp_path, samples[:2], ("a", "b", "c"), "day").several_shapes


def test_without_an_image_there_is_nothing_to_plan_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image"):
        data_fingerprint(tmp_path, [], ("a", "b"), None)
