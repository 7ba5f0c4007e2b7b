"""Forecasts against a naive re-computation and known curves, rules against their limits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.campaign.spending import Spending, why_spent
from pipeline.campaign.stopping import (
    EXPONENTS_C,
    LEFT_G,
    NOISE,
    NOISE_ROUNDS,
    NOW_M,
    SIDE,
    Advice,
    advise,
    agreement,
    describe,
    forecast,
    parse_advice,
    stop_set,
    thinned,
    why_finished,
)
from pipeline.config.rounds import LoopParams
from pipeline.errors import DataError

RISING = [(12, 0.37), (20, 0.42), (28, 0.45), (36, 0.47)]
FLAT = [(20 * n, 0.601 - 0.0004 * (n % 2)) for n in range(1, 9)]


def test_the_forecast_is_the_weighted_mean_over_all_curves() -> None:
    now, level = RISING[-1]
    total = loss = gain = 0.0
    for c in EXPONENTS_C:
        for m in NOW_M:
            for share in LEFT_G:
                left = share * (1 - (level + m))
                a, b = level + m + left, left * now**c  # mIoU(n) = a - b n^-c
                squares = sum((a - b * n**-c - miou) ** 2 for n, miou in RISING)
                weight = (NOISE_ROUNDS * NOISE**2 + squares) ** (-(len(RISING) + NOISE_ROUNDS) / 2)
                total += weight
                loss += weight * (b * now**-c - b * (now + 50) ** -c)
                gain += weight * (b * now**-c - b * (now + 10) ** -c)
    found = forecast(RISING, 50)
    assert found is not None
    assert found.loss.mean == pytest.approx(loss / total, rel=1e-6)
    assert found.gain.mean == pytest.approx(gain / total, rel=1e-6)
    assert found.loss.low < found.loss.mean < found.loss.high


def test_below_three_rounds_there_is_no_forecast() -> None:
    assert forecast(RISING[:2], 50) is None
    assert forecast([], 50) is None
    assert forecast(RISING[:3], 50) is not None


def test_nothing_left_is_nothing_to_lose() -> None:
    found = forecast(RISING, 0)
    assert found is not None
    assert found.loss == found.gain == (0, 0, 0, 0)


def test_a_steep_curve_promises_more_than_a_flat_one_and_many_labels_more_than_few() -> None:
    steep, flat = forecast(RISING, 100), forecast(FLAT, 100)
    assert steep is not None
    assert flat is not None
    assert steep.gain.mean > 5 * flat.gain.mean
    assert steep.loss.mean > steep.gain.mean > 0
    further = forecast(RISING, 300)
    assert further is not None
    assert further.loss.mean > steep.loss.mean
    assert further.gain == steep.gain


@pytest.mark.parametrize("point", [(0, 0.5), (10, 1.2), (10, -0.1), (10, float("nan"))])
def test_bad_points_are_refused(point: tuple[int, float]) -> None:
    with pytest.raises(DataError, match="expected 1 or more"):
        forecast([*RISING, point], 10)


@pytest.mark.heavy
def test_the_forecast_holds_what_it_says() -> None:
    """Over curves as they come with few labels, noise between seeds included."""
    rng = np.random.default_rng(3)
    inside = {"loss": 0, "gain": 0}
    for _ in range(200):
        a, c = rng.uniform(0.4, 0.8), rng.uniform(0.3, 1.2)
        b = rng.uniform(0.3, 0.9) * a * 8**c
        labels = [12 + 8 * n for n in range(int(rng.integers(3, 9)))]
        points = [(n, float(np.clip(a - b * n**-c + rng.normal(0, 0.01), 0, 1))) for n in labels]
        found = forecast(points, 150)
        assert found is not None
        now = labels[-1]
        for name, n in (("loss", now + 150), ("gain", now + 10)):
            low, high = getattr(found, name)[2:]
            inside[name] += low <= b * now**-c - b * n**-c <= high
    assert min(inside.values()) >= 0.85 * 200


def maps(*values: int, size: int = 8) -> dict[str, Any]:
    return {str(n): np.full(size, value, np.uint8) for n, value in enumerate(values)}


def test_agreement_is_the_mean_iou_over_the_common_images() -> None:
    assert agreement(maps(0, 1, 2), maps(0, 1, 2)) == 1
    assert agreement(maps(0, 1), maps(1, 0)) == 0
    # Class 0: 8 of 16 pixels; class 1: 8 of 16.
    assert agreement(maps(0, 0, 1), maps(0, 1, 1)) == pytest.approx((8 / 16 + 8 / 16) / 2)
    assert agreement(maps(0, 1, 2), maps(0, 1)) == 1  # what was labelled meanwhile is left out
    assert agreement(maps(0), {}) is None
    before, now = maps(0, 0, 1, 2), maps(0, 1, 1, 0)
    renamed = ({k: 7 - v for k, v in found.items()} for found in (before, now))
    assert agreement(*renamed) == pytest.approx(agreement(before, now))
    assert agreement(now, before) == pytest.approx(agreement(before, now))


def test_images_are_compared_on_a_grid_whatever_their_size() -> None:
    rows = np.arange(SIDE)[:, None] // 4 + np.zeros((SIDE, SIDE), int)
    large = rows.astype(np.uint8).repeat(3, axis=0).repeat(5, axis=1)
    np.testing.assert_array_equal(thinned(large), thinned(rows.astype(np.uint8)))
    assert thinned(np.ones((7, 9), np.uint8)).shape == (SIDE * SIDE,)


def test_the_stop_set_does_not_depend_on_the_order_and_only_grows_with_its_size() -> None:
    names = [f"day/{n}" for n in range(50)]
    assert stop_set(names, 10) == stop_set(reversed(names), 10)
    assert stop_set(names, 20)[:10] == stop_set(names, 10)
    assert len(stop_set(names[:3], 10)) == 3


def test_the_rules_say_stop_at_their_limits() -> None:
    params = LoopParams(stop_gain_per_hour=0)
    stable = [0.2, 0.95, 0.95, 0.97]
    assert advise(RISING, 50, 2.0, stable, params).reasons != ()
    assert advise(RISING, 50, 2.0, [0.95, 0.97], params).reasons == ()  # three rounds it takes
    assert advise(RISING, 50, 2.0, [*stable, 0.94], params).reasons == ()
    flat = advise(FLAT, 50, 12.0, [], LoopParams(stop_gain_per_hour=0.01))
    assert "hour of annotation" in flat.reasons[0]
    assert not flat.closes
    assert advise(FLAT, 50, 12.0, [], LoopParams(stop_gain_per_hour=0.01, stop="auto")).closes
    assert advise(RISING, 50, 12.0, [], LoopParams(stop_gain_per_hour=0.01, stop="auto")) == advise(
        RISING, 50, 12.0, [], LoopParams(stop_gain_per_hour=0.01)
    )
    assert advise(FLAT, 50, None, [], LoopParams(stop_gain_per_hour=1)).reasons == ()


def test_gain_per_hour_is_the_gain_over_the_time_that_it_takes() -> None:
    found = advise(RISING, 50, 12.0, [], LoopParams())
    assert found.forecast is not None
    assert found.gain_per_hour == pytest.approx(np.array(found.forecast.gain) / 2)  # 10 x 12 min
    few = advise(RISING, 5, 12.0, [], LoopParams())
    assert few.forecast is not None
    assert few.gain_per_hour == pytest.approx(np.array(few.forecast.gain))


@pytest.mark.parametrize("points", [RISING, RISING[:1]])
def test_advice_survives_the_file(points: list[tuple[int, float]]) -> None:
    found = advise(points, 50, 2.0, [0.9, 0.91], LoopParams())
    assert parse_advice(json.dumps(found.to_dict())) == found


def test_it_is_told_in_words() -> None:
    few = advise(RISING[:2], 50, None, [], LoopParams())
    assert describe(few) == [
        "Too few rounds to say what stopping would lose: 2 with a measured mIoU, 3 are needed."
    ]
    said = describe(advise(RISING, 50, 6.0, [0.9], LoopParams()))
    assert said[0].startswith("If you stop now, expected loss 0.")
    assert (
        "against labelling all 50 images that are left; the next 10 are expected to bring"
        in said[0]
    )
    assert said[1] == (
        "Predictions on the stop set agree with the round before's by 0.900 (mean IoU)."
    )
    assert describe(advise(RISING, 0, 6.0, [], LoopParams())) == [
        "Every image has its label: there is nothing left to gain here."
    ]
    closed = advise(FLAT, 50, 12.0, [1.0] * 3, LoopParams(stop_gain_per_hour=0.01, stop="auto"))
    assert describe(closed)[-1].startswith("The domain is closed: predictions on the stop set")
    spent = Spending(spent=4, budget=4, knob="loop.budget", candidates=9)
    assert why_finished(closed, spent).count(";") == 1
    assert why_finished(few, spent) == why_finished(None, spent) == why_spent(spent)
    assert isinstance(closed, Advice)


def test_regions_are_called_regions_and_the_next_query_is_told() -> None:
    found = advise(RISING, 900, 0.5, [], LoopParams(), unit="region", ahead=60)
    assert "labelling all 900 regions that are left; the next 60 are" in describe(found)[0]
    assert found.gain_per_hour.mean == pytest.approx(found.forecast.gain.mean / (60 * 0.5 / 60))
    assert parse_advice(json.dumps(found.to_dict())) == found
    none = advise(RISING, 0, 0.5, [], LoopParams(), unit="region", ahead=60)
    assert describe(none)[0].startswith("Every region has its label")
