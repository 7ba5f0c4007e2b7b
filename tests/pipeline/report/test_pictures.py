from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.class_colours import rgb
from pipeline.records.regions import Box
from pipeline.report import pictures

COLOURS = ("#ff0000", "#0000ff")


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def grey() -> NDArray[np.uint8]:
    return np.full((64, 96, 3), 100, np.uint8)


def test_a_data_uri_holds_the_picture() -> None:
    flat = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    head, data = pictures.data_uri(flat).split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert np.abs(np.asarray(image).astype(int) - flat).max() < 5


def halves(left: int, right: int) -> NDArray[np.uint8]:
    values = np.full((64, 96), left, np.uint8)
    values[:, 48:] = right
    return values


def test_an_overlay_paints_every_class_and_leaves_ignored_pixels(
    grey: NDArray[np.uint8], tmp_path: Path
) -> None:
    mask = halves(1, 255)
    mask[:32, :48] = 0
    found = pictures.overlay(grey, save(tmp_path / "mask.png", mask), COLOURS).astype(int)
    for place, colour in (((8, 8), COLOURS[0]), ((56, 8), COLOURS[1])):
        expected = 100 * (1 - pictures.PAINT) + np.array(rgb(colour)) * pictures.PAINT
        assert np.abs(found[place] - expected).max() <= 1
    assert np.abs(found[30, 80] - 100).max() <= 1


def test_a_heat_map_goes_from_dark_to_bright(tmp_path: Path) -> None:
    found = pictures.heat_map(save(tmp_path / "doubt.png", halves(0, 255))).astype(int)
    assert np.abs(found[30, 8] - rgb(pictures.HEAT[0])).max() <= 1
    assert np.abs(found[30, 88] - rgb(pictures.HEAT[-1])).max() <= 1
    luma = pictures.heat_table().astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luma) > -0.5).all()


@pytest.mark.parametrize(("confidence", "reliable"), [(242, False), (243, True)])
def test_unreliable_pixels_are_grey_and_hatched(
    grey: NDArray[np.uint8], tmp_path: Path, confidence: int, reliable: bool
) -> None:
    mask = save(tmp_path / "mask.png", np.zeros((64, 96), np.uint8))
    sure = save(tmp_path / "sure.png", halves(255, confidence))
    found = pictures.pseudo_label(grey, mask, sure, COLOURS, tau=0.95).astype(int)
    right = found[8:56, 56:88].astype(float)
    assert (found[8:56, 8:40, 0] > found[8:56, 8:40, 2] + 80).all()  # painted red
    colourful = np.abs(right[..., 0] - right[..., 2]).mean() > 80
    striped = right.mean(axis=2).std() > 10
    assert colourful == reliable
    assert striped != reliable


def test_pictures_are_shrunk_in_proportion_and_never_enlarged(tmp_path: Path) -> None:
    large = save(tmp_path / "large.png", np.zeros((500, 2000, 3), np.uint8))
    assert pictures.small_image(large).shape == (105, 420, 3)
    small = save(tmp_path / "small.png", np.zeros((1, 900, 3), np.uint8))
    assert pictures.small_image(small).shape == (1, 420, 3)
    tiny = save(tmp_path / "tiny.png", np.zeros((24, 32, 3), np.uint8))
    assert pictures.small_image(tiny).shape == (24, 32, 3)


def test_of_regions_only_the_inside_is_painted_and_bright(tmp_path: Path) -> None:
    image = save(tmp_path / "image.png", np.full((64, 96, 3), 100, np.uint8))
    mask = save(tmp_path / "mask.png", np.zeros((64, 96), np.uint8))
    boxes = [Box(48, 0, 48, 32)]
    photo = pictures.small_image(image, boxes)
    assert (photo[2:30, 50:] == 100).all()
    assert (photo[40:, :40] == 60).all()
    shown = pictures.overlay(photo, mask, COLOURS, boxes)
    assert (shown[2:30, 50:, 0] > 180).all()
    np.testing.assert_array_equal(shown[32:], photo[32:])
    np.testing.assert_array_equal(shown[:, :48], photo[:, :48])
