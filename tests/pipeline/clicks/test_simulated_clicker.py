from __future__ import annotations

import numpy as np

from pipeline.clicks.marks import BoxMark, Click
from pipeline.clicks.simulated_clicker import box_around, iou, next_click, things_of


def _thing() -> np.ndarray:
    thing = np.zeros((20, 30), bool)
    thing[4:13, 5:14] = True
    return thing


def test_the_first_click_is_in_the_middle_of_the_thing() -> None:
    assert next_click(np.zeros((20, 30), bool), _thing()) == Click(8.5, 9.5, True)


def test_the_larger_wrong_area_is_clicked_positive_or_negative() -> None:
    found = _thing()
    found[4:13, 5:8] = False  # 27 missing
    found[0:7, 20:27] = True  # 49 too many
    assert next_click(found, _thing()) == Click(3.5, 23.5, False)
    found[0:7, 20:27] = False
    assert next_click(found, _thing()) == Click(5.5, 6.5, True)


def test_nothing_wrong_is_no_click_nor_is_the_unknown() -> None:
    assert next_click(_thing(), _thing()) is None
    found = _thing()
    found[0] = True
    known = np.ones_like(found)
    known[0] = False
    assert next_click(found, _thing(), known) is None


def test_the_images_border_is_a_border() -> None:
    wrong = np.zeros((20, 30), bool)
    wrong[0:9, 0:9] = True
    assert next_click(np.zeros_like(wrong), wrong) == Click(4.5, 4.5, True)


def test_things_are_areas_the_largest_first() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[0:2, 0:2] = 1
    truth[5:9, 5:9] = 1
    truth[2, 2] = 1  # touches by a corner
    sizes = [int(thing.area_HW.sum()) for thing in things_of(truth, 1)]
    assert sizes == [16, 5]
    assert len(things_of(truth, 1, least_px=6)) == 1


def test_iou_and_box_by_hand() -> None:
    other = np.zeros((20, 30), bool)
    other[4:13, 5:17] = True
    assert iou(_thing(), other) == 81 / 108
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1
    assert box_around(_thing()) == BoxMark(4, 5, 13, 14)
