from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.records.regions import Box, Grid, boxes_text, framed, grid_of, inside, parse_boxes


def test_boxes_survive_their_text() -> None:
    boxes = (Box(0, 3, 16, 8), Box(16, 0, 1, 1))
    assert boxes_text(boxes) == "0,3,16,8;16,0,1,1"
    assert parse_boxes("0,3,16,8;16,0,1,1", "here") == boxes
    assert parse_boxes("", "here") == ()


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,0", "1,2,-3,4", "1,2,3,4;", "all", "1.5,2,3,4"])
def test_a_text_that_names_no_box_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"query.csv:2: regions '.*', expected x,y,w,h"):
        parse_boxes(text, "query.csv:2")


def test_boxes_meet_where_they_share_a_pixel() -> None:
    box = Box(4, 4, 4, 4)
    for other in (Box(0, 0, 5, 5), Box(7, 7, 9, 9), Box(5, 5, 1, 1), Box(0, 0, 20, 20)):
        assert box.meets(other)
        assert other.meets(box)
    for other in (Box(0, 4, 4, 4), Box(8, 4, 4, 4), Box(4, 0, 4, 4), Box(4, 8, 4, 4)):
        assert not box.meets(other)
        assert not other.meets(box)
    assert Box(0, 0, 8, 8).holds(box)
    assert not Box(0, 0, 7, 8).holds(box)
    assert not Box(0, 5, 9, 9).holds(box)


@pytest.mark.parametrize("size", [(24, 32), (25, 31), (7, 100), (6, 8)])
def test_a_grid_deals_out_every_pixel_once_and_evenly(size: tuple[int, int]) -> None:
    grid = Grid(3, 4)
    region_HW = grid.region_of(size).reshape(size)
    seen_HW = np.zeros(size, dtype=int)
    for region in range(grid.count):
        box = grid.box(region, size)
        assert (region_HW[box.slices] == region).all()
        seen_HW[box.slices] += 1
        assert box.width - size[1] // 4 in (0, 1)
        assert box.height - size[0] // 3 in (0, 1)
    assert (seen_HW == 1).all()
    assert grid.ids("day/a")[7] == "day/a#1,3"


def test_regions_have_about_the_side_that_is_asked_for() -> None:
    assert grid_of((96, 128), 16, finest=(96, 128)) == Grid(6, 8)
    assert grid_of((96, 128), 40, finest=(96, 128)) == Grid(2, 3)
    assert grid_of((96, 128), 1000, finest=(96, 128)) == Grid(1, 1)
    assert grid_of((96, 128), 4, finest=(10, 10)) == Grid(10, 10)


def test_a_framed_image_shows_its_regions_as_they_are_and_the_rest_dimmed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    boxes = [Box(50, 40, 20, 10), Box(70, 40, 20, 10), Box(190, 0, 10, 30)]
    shown = framed(image, boxes)
    asked = inside(boxes, (100, 200))
    np.testing.assert_array_equal(shown[asked], image[asked])
    assert (shown[39, 50:90] == 255).all()  # one line around two regions that touch
    assert (shown[40:50, 49] == 255).all()
    assert (shown[40:50, 90] == 255).all()
    assert (shown[30, 189:] == 255).all()
    assert (shown[38, 50:90] == 0).all()
    np.testing.assert_allclose(shown[80:, :180], image[80:, :180] * 0.6, atol=1)
