"""Agreement of people who answered the same question, by class and by pair."""

from __future__ import annotations

import numpy as np
import pytest

from flows.views.annotator_agreement import agreement_lines, agreement_of
from tests.flows.answers.conftest import Desk, desk
from tests.flows.conftest import CLASSES, SIZE

pytestmark = pytest.mark.programs

__all__ = ["desk"]


def half(rows: int) -> np.ndarray:
    """Road above, car below."""
    mask = np.zeros(SIZE, np.uint8)
    mask[rows:] = 1
    return mask


def test_people_are_compared_class_by_class_and_pair_by_pair(desk: Desk) -> None:
    first, second, third = desk.items
    desk.people.answer(first, half(12), person="bo@example.org")
    desk.people.answer(first, half(16), person="ana@example.org")
    desk.people.answer(second, half(12), person="ana@example.org")
    desk.people.answer(second, half(12), person="cy@example.org")
    desk.people.answer(third, half(12), person="cy@example.org")
    desk.look()
    found = agreement_of(desk.loop, ["day"])
    assert found.images == 2
    assert [pair.people for pair in found.by_pair] == [
        ("ana@example.org", "bo@example.org"),
        ("ana@example.org", "cy@example.org"),
    ]
    differing, same = found.by_pair
    assert (same.jaccard, same.boundary_f, same.images) == (1, 1, 1)
    assert differing.jaccard == pytest.approx((12 / 16 + 8 / 12) / 2)
    assert differing.boundary_f == 0  # four pixels apart
    assert found.by_class[CLASSES[0]]["jaccard"] == pytest.approx((12 + 12) / (16 + 12))
    assert found.majority_unknown == pytest.approx(4 / 24 / 2)
    assert any(
        "ana@example.org and bo@example.org, 1 image(s)" in x for x in agreement_lines(found)
    )


def test_nothing_is_said_where_nobody_answered_what_another_did(desk: Desk) -> None:
    desk.people.answer(desk.items[0], half(12), person="ana@example.org")
    desk.look()
    found = agreement_of(desk.loop, ["day"])
    assert (found.images, found.by_pair, found.majority_unknown) == (0, (), None)
    assert agreement_lines(found) == []
