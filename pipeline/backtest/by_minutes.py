"""Ways to ask beside each other by people's minutes: images, regions, corrections.

Every curve is taken over the minutes that all of them have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backtest.plan import Point
from pipeline.backtest.significance import compare, interval
from pipeline.campaign.acts import SECONDS, Acts, Seconds, minutes_of

REFERENCE = "image/random"
NUM_GRID = 400  # points between the first and the last minute, for the area under a curve
Floats = NDArray[np.float64]


def counted(by_seed: Sequence[Sequence[Point]]) -> dict[str, Any]:
    """What a strategy cost, per seed and round: minutes, the pixels' share, and every act."""
    return {
        "minutes": [[round(minutes_of(point.acts), 3) for point in course] for course in by_seed],
        "pixel_share": [[round(point.share, 8) for point in course] for course in by_seed],
        "acts": [[asdict(point.acts) for point in course] for course in by_seed],
    }


def courses_of(
    results: Mapping[str, Mapping[str, Any]], seconds: Seconds = SECONDS
) -> dict[str, list[tuple[Floats, Floats]]]:
    """`unit/strategy -> (minutes_R, miou_R)` of every seed, from results of backtests by unit."""
    return {
        f"{unit}/{name}": [
            (np.array([minutes_of(Acts(**acts), seconds) for acts in course]), np.array(miou_R))
            for course, miou_R in zip(row["acts"], row["miou"], strict=True)
        ]
        for unit, result in results.items()
        for name, row in result["strategies"].items()
    }


def by_minutes(
    results: Mapping[str, Mapping[str, Any]], seconds: Seconds = SECONDS
) -> dict[str, Any]:
    """Mean mIoU over the common minutes, per way to ask, and its difference to `REFERENCE`.

    `results` are those of backtests with the same seeds, by unit. Where no minute is common, or
    the reference did not run, what follows from it is null.
    """
    courses = courses_of(results, seconds)
    ends = [(minutes_R[0], minutes_R[-1]) for each in courses.values() for minutes_R, _ in each]
    first, last = max(first for first, _ in ends), min(last for _, last in ends)
    if first >= last:
        return {"minutes": None, "ways": {}, "verdict": _no_common(first, last)}
    areas = {
        name: np.array([_area(*course, first, last) for course in each])
        for name, each in courses.items()
    }
    ways = {
        name: {
            "area": round(float(area_S.mean()), 6),
            "minus_reference": interval(area_S - areas[REFERENCE]) if REFERENCE in areas else None,
        }
        for name, area_S in areas.items()
    }
    return {
        "minutes": [round(first, 1), round(last, 1)],
        "seconds": asdict(seconds),
        "ways": ways,
        "verdict": _verdict(ways, len(next(iter(areas.values())))),
    }


def _area(minutes_R: Floats, miou_R: Floats, first: float, last: float) -> float:
    grid = np.linspace(first, last, NUM_GRID)
    return float(np.trapezoid(np.interp(grid, minutes_R, miou_R), grid) / (last - first))


def _no_common(first: float, last: float) -> str:
    return (
        f"One way to ask begins after {first:.0f} minutes and another has ended after {last:.0f}: "
        "nothing to compare; raise --rounds, or lower --start."
    )


def _verdict(ways: Mapping[str, Mapping[str, Any]], num_seeds: int) -> str:
    best = max(ways, key=lambda name: ways[name]["area"])
    said = [f"Per minute {best} is ahead."]
    said += [
        compare(name, row["minus_reference"], num_seeds, REFERENCE)
        for name, row in ways.items()
        if name != REFERENCE and row["minus_reference"]
    ]
    return " ".join(said)
