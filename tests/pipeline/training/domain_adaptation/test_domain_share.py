"""Shares of two streams, drawn turn by turn."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest

from pipeline.training.domain_adaptation.domain_share import (
    interleaved,
    places_of,
    target_share_of_labels,
)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.333, 0.5, 1.0])
def test_of_any_number_of_turns_the_share_is_the_targets(share: float) -> None:
    whole = interleaved(range(1000), share)
    own = 0
    for turn, (is_target, number) in enumerate(whole):
        assert number == (own if is_target else turn - own)
        own += is_target
        assert own == int((turn + 1) * Fraction(str(share)))


def test_a_turn_is_the_same_whichever_part_is_asked_for() -> None:
    whole = interleaved(range(60), 0.3)
    assert [interleaved(range(t, t + 4), 0.3) for t in range(0, 60, 4)] == [
        whole[t : t + 4] for t in range(0, 60, 4)
    ]


def test_places_are_those_of_the_own_stream() -> None:
    def draw(count: int, numbers) -> list[int]:
        return [number % count for number in numbers]

    found = places_of(range(8), 0.5, [10, 11], draw, [20, 21, 22])
    assert found == [20, 10, 21, 11, 22, 10, 20, 11]


@pytest.mark.parametrize(
    ("weight", "expected"), [(1.0, None), (0.0, 1.0), (0.1, 8 / 28), (0.5, 8 / 108)]
)
def test_a_source_image_comes_weight_times_as_often(weight: float, expected: float) -> None:
    assert target_share_of_labels(8, 200, weight) == expected


@pytest.mark.parametrize(("own", "others"), [(0, 200), (8, 0)])
def test_with_labels_of_one_kind_all_take_their_turns(own: int, others: int) -> None:
    assert target_share_of_labels(own, others, 0.0) is None


def test_counts_in_the_long_run() -> None:
    share = target_share_of_labels(2, 8, 0.25)
    assert share is not None
    found = places_of(
        range(4000), share, [0, 1], lambda n, numbers: [k % n for k in numbers], list(range(2, 10))
    )
    counts = Counter(found)
    assert counts[2] / counts[0] == pytest.approx(0.25, rel=0.01)
