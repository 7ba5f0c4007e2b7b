"""Ways to ask, by people's minutes."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.backtest.by_minutes import by_minutes, counted
from pipeline.backtest.plan import Plan, Point
from pipeline.backtest.units import plans_of
from pipeline.campaign.acts import SECONDS, Acts, minutes_of


def result(miou: list[list[float]], acts: list[Acts]) -> dict[str, Any]:
    points = [
        [Point(miou=value, share=0.0, acts=each) for value, each in zip(row, acts, strict=True)]
        for row in miou
    ]
    return {"strategies": {"random": {"miou": miou, **counted(points)}}}


WHOLE = result([[0.2, 0.4], [0.3, 0.5]], [Acts(whole_minutes=10), Acts(whole_minutes=30)])
CLICKS = [Acts(looks=n, clicks=10 * n) for n in (0, 60, 120)]  # 0, 38 and 76 minutes
QUICK = result([[0.0, 0.76, 0.8], [0.1, 0.76, 0.8]], CLICKS)


def test_an_act_takes_its_seconds() -> None:
    acts = Acts(looks=1, clicks=2, strokes=3, regions=4, whole_minutes=5)
    assert minutes_of(acts) == pytest.approx(5 + (8 + 2 * 3 + 3 * 4 + 4 * 6) / 60)
    twice = SECONDS.scaled(2, "click", "region")
    assert minutes_of(acts, twice) - minutes_of(acts) == pytest.approx((2 * 3 + 4 * 6) / 60)
    assert acts + acts == Acts(looks=2, clicks=4, strokes=6, regions=8, whole_minutes=10)


def test_areas_are_over_the_minutes_in_common() -> None:
    found = by_minutes({"image": WHOLE, "correction": QUICK})
    assert found["minutes"] == [10, 30]
    # Straight lines: the mean over 10 to 30 minutes is the value at 20.
    assert found["ways"]["image/random"]["area"] == pytest.approx((0.3 + 0.4) / 2)
    at_20 = [0.76 * 20 / 38, 0.1 + 0.66 * 20 / 38]
    assert found["ways"]["correction/random"]["area"] == pytest.approx(sum(at_20) / 2)
    gain, low, high = found["ways"]["correction/random"]["minus_reference"]
    assert gain == pytest.approx(sum(at_20) / 2 - 0.35, abs=1e-6)
    assert low <= gain <= high
    assert "correction/random seems better than image/random" in found["verdict"]


def test_slower_clicks_cost_what_they_cost() -> None:
    usual = by_minutes({"image": WHOLE, "correction": QUICK})
    slow = by_minutes({"image": WHOLE, "correction": QUICK}, SECONDS.scaled(2, "click", "look"))
    area = {name: row["area"] for name, row in slow["ways"].items()}
    assert area["correction/random"] < usual["ways"]["correction/random"]["area"]
    assert area["image/random"] == usual["ways"]["image/random"]["area"]


def test_without_a_common_minute_nothing_is_compared() -> None:
    late = result([[0.5, 0.6]] * 2, [Acts(whole_minutes=100), Acts(whole_minutes=200)])
    found = by_minutes({"image": late, "correction": QUICK})
    assert found["minutes"] is None
    assert "nothing to compare" in found["verdict"]


def test_units_get_about_equal_minutes_a_query() -> None:
    plan = Plan(strategies=("random",), start=2, rounds=2, query_size=2, seeds=1)
    plans = plans_of(plan, ["image", "region", "correction"], 8, 15)
    assert plans["image"] == plan
    assert (plans["region"].region_px, plans["correction"].corrections) == (8, 15)
    assert {unit: each.unit for unit, each in plans.items()} == {unit: unit for unit in plans}
    asked = plans["correction"].query_size
    minutes = minutes_of(Acts(looks=asked, clicks=15 * asked))
    assert minutes == pytest.approx(12, rel=0.1)
    alone = plans_of(plan, ["region"], 8, 15)
    assert alone["region"].query_size == 2
