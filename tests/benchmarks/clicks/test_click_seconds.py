"""Seconds of outlining and of clicking, counted by hand on squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.clicks.seconds import Counted, SecondsPerAct, all_things, clicked, outline, outlined
from pipeline.clicks.marks import Click

KNOWN = np.ones((60, 80), bool)


def _truth() -> np.ndarray:
    truth = np.zeros((60, 80), np.uint8)
    truth[10:40, 20:50] = 1
    return truth


def test_a_square_is_four_points_and_what_is_there_none() -> None:
    square = _truth() == 1
    assert outline(square, np.zeros_like(square), KNOWN) == Counted(begins=1, points=4)
    assert outline(square, square, KNOWN) == Counted()


def test_only_what_is_wrong_is_mended_the_largest_first() -> None:
    square = _truth() == 1
    have = square.copy()
    have[10:40, 20:26] = False  # a fifth is missing: drawn
    have[50:53, 70:74] = True  # little is too much: left, the IoU is reached
    assert outline(square, have, KNOWN) == Counted(begins=1, points=4)


def test_a_hole_is_outlined_too() -> None:
    ring = _truth() == 1
    ring[20:30, 30:40] = False
    assert outline(ring, np.zeros_like(ring), KNOWN) == Counted(begins=1, points=8)


def test_every_thing_of_every_class_is_drawn_the_ignored_is_not() -> None:
    truth = _truth()
    truth[:, 60:] = 255
    truth[0, 0:5] = 2  # five pixels: too small for anybody
    assert [thing.class_index for thing in all_things(truth, 3)] == [0, 1]
    assert outlined(truth, 3).begins == 2


def test_one_click_of_a_perfect_engine_is_all_that_it_takes() -> None:
    truth, asked = _truth(), list[tuple[Sequence[Click], int]]()

    def masking(clicks: Sequence[Click], class_index: int) -> np.ndarray:
        asked.append((tuple(clicks), class_index))
        return truth == class_index

    assert clicked(truth, 2, masking) == Counted(begins=2, clicks=2)
    assert [index for _, index in asked] == [0, 1]


def test_a_useless_engine_costs_a_click_and_the_outline() -> None:
    truth = _truth()
    found = clicked(truth, 2, lambda _, __: np.zeros_like(truth, bool))
    drawn = outlined(truth, 2)
    assert found == Counted(begins=drawn.begins + 2, points=drawn.points, clicks=2)


def test_seconds_are_acts_times_their_paces() -> None:
    acts = SecondsPerAct(begin=2, point=1, click=3)
    assert Counted(begins=1, points=4, clicks=2).seconds(acts) == 12
