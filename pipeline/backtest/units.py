"""One backtest per unit that people may be asked for, at about equal minutes a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.backtest.by_minutes import by_minutes
from pipeline.backtest.plan import Plan, Unit
from pipeline.backtest.run import BacktestRequest, run
from pipeline.campaign.acts import SECONDS

IMAGE_MINUTES = 6.0  # of one whose pre-annotation is corrected all over, as annotation_time guesses


def plans_of(
    plan: Plan, units: Sequence[Unit], region_px: int, corrections: int
) -> dict[Unit, Plan]:
    """The plan of each unit. `plan.query_size` counts the only unit, or of several whole images:
    of the others as many are asked for as take about as long."""
    shape: dict[Unit, dict[str, Any]] = {
        "image": {},
        "region": {"region_px": region_px},
        "correction": {"corrections": corrections},
    }
    seconds: dict[Unit, float] = {
        "image": 60 * IMAGE_MINUTES,
        "region": SECONDS.region + SECONDS.look / 4,  # some four regions of an image at a time
        "correction": SECONDS.look + corrections * SECONDS.click,
    }
    per_image = {
        unit: seconds["image"] / seconds[unit] if len(units) > 1 else 1.0 for unit in units
    }
    return {
        unit: replace(
            plan, query_size=max(1, round(plan.query_size * per_image[unit])), **shape[unit]
        )
        for unit in units
    }


def compare_units(request: BacktestRequest, plans: Mapping[Unit, Plan]) -> dict[str, Any]:
    """The result of each unit, and all of them by minutes; `request.plan` is not looked at."""
    units: dict[str, dict[str, Any]] = {
        unit: run(replace(request, plan=plan)) for unit, plan in plans.items()
    }
    minutes = by_minutes(units)
    return {"units": units, "by_minutes": minutes, "verdict": minutes["verdict"]}
