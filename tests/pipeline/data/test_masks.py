"""Mask files are read as class indices, or refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats.images import load_mask, save_mask
from pipeline.errors import DataError
from tests.pipeline.data.pixels import GREY, RGB, SaveExif, png

pytestmark = pytest.mark.filterwarnings("error")


INDICES = (GREY % 3).astype(np.uint8)
INDICES_WITH_IGNORE = np.where(GREY > 200, 255, INDICES).astype(np.uint8)


def test_mask_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.png"
    save_mask(path, INDICES_WITH_IGNORE)
    first = path.read_bytes()
    mask = load_mask(path, 3)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, INDICES_WITH_IGNORE)
    assert path.read_bytes()[24:26] == bytes([8, 0])  # 8-bit greyscale
    save_mask(path, INDICES_WITH_IGNORE)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_mask_is_read_as_indices(tmp_path: Path, bits: int) -> None:
    indices = INDICES % 2 if bits == 1 else INDICES
    paletted = Image.fromarray(indices, "P")
    paletted.putpalette(
        list(range(3 * min(2**bits, 256)))[: 3 * 2**bits] if bits < 8 else [7] * 768
    )
    paletted.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[24] == bits
    assert np.array_equal(load_mask(tmp_path / "a.png", 3), indices)


def test_palette_mask_with_a_transparent_class_keeps_its_indices(tmp_path: Path) -> None:
    paletted = Image.fromarray(INDICES, "P")
    paletted.putpalette([0, 0, 0, 0, 200, 0, 0, 0, 200])
    paletted.save(tmp_path / "a.png", transparency=0)
    assert np.array_equal(load_mask(tmp_path / "a.png", 3), INDICES)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (RGB, "8-bit colour"),
        (np.dstack([RGB, GREY]), "8-bit RGBA"),
        (np.dstack([GREY, GREY]), "8-bit greyscale with alpha"),
        (INDICES.astype(np.uint16), "16-bit greyscale"),
        (INDICES > 0, "1-bit greyscale"),
    ],
)
def test_colour_alpha_and_other_depths_of_masks_are_refused(
    tmp_path: Path, pixels: np.ndarray, words: str
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: {words} mask, expected 8-bit class indices"):
        load_mask(tmp_path / "a.png", 3)


def test_four_bit_grey_mask_is_refused_since_viewers_scale_it(tmp_path: Path) -> None:
    rows = b"".join(b"\x00" + bytes([0x01, 0x20]) for _ in range(2))
    with pytest.raises(DataError, match="4-bit greyscale mask"):
        load_mask(png(tmp_path / "a.png", 4, 0, rows, (2, 4)), 3)


def test_unknown_class_values_are_listed(tmp_path: Path) -> None:
    wrong = INDICES_WITH_IGNORE.copy()
    wrong[0, :2] = 3, 7
    Image.fromarray(wrong).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"unknown class values 3, 7, expected 0\.\.2 or 255"):
        load_mask(tmp_path / "a.png", 3)
    assert np.array_equal(load_mask(tmp_path / "a.png", 8), wrong)


def test_jpeg_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(INDICES).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="not a PNG"):
        load_mask(tmp_path / "a.jpg", 3)


def test_rotated_mask_is_refused(tmp_path: Path, save_exif: SaveExif) -> None:
    save_exif(INDICES, tmp_path / "a.png", 6)
    with pytest.raises(DataError, match="EXIF rotation"):
        load_mask(tmp_path / "a.png", 3)


def test_truncated_mask_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 3, (64, 64), dtype=np.uint8)
    save_mask(tmp_path / "a.png", noise)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged or truncated"):
        load_mask(tmp_path / "a.png", 3)


def test_only_uint8_masks_are_saved(tmp_path: Path) -> None:
    for wrong in (INDICES.astype(np.int64), RGB):
        with pytest.raises(ValueError, match="expected uint8 HxW"):
            save_mask(tmp_path / "a.png", wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_mask_that_is_packed_quickly_is_the_same_mask(tmp_path: Path) -> None:
    mask_HW = np.repeat(np.random.default_rng(0).integers(0, 255, (33, 47), dtype=np.uint8), 9, 0)
    save_mask(tmp_path / "small.png", mask_HW)
    save_mask(tmp_path / "quick.png", mask_HW, small=False)
    assert np.array_equal(load_mask(tmp_path / "quick.png", 255), mask_HW)
    sizes = [(tmp_path / name).stat().st_size for name in ("small.png", "quick.png")]
    assert sizes[0] < sizes[1]
