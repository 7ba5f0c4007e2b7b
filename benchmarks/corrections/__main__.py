"""Correct what is wrong, paint regions, or paint images: which teaches most per minute?

`python -m benchmarks.corrections --data DIR` replays CamVid and DSB2018 by all three with the
probe's head (fast backtest), and CamVid by few clicks in many images, for the share of its own
ceiling against the share of pixels asked for; it writes corrections/<case>.json and corrections.md
beside the other results. Finished replays are kept (--cache), so that a stopped run goes on. Judged
on blocks held out of the train split; `--score-on test` is for the end and records the day.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.camvid.day_and_dusk import CamVid, locate
from benchmarks.support import RESULTS, machine, read_json, spread, table
from pipeline.backtest.by_minutes import by_minutes
from pipeline.backtest.plan import Plan, Unit
from pipeline.backtest.run import BacktestRequest
from pipeline.backtest.units import compare_units, plans_of
from pipeline.campaign.acts import MOST_CORRECTIONS, SECONDS
from pipeline.files import write_json, write_text

STEPS = 1000  # of the settings that the encoder comes with; a head's own are the backtest's
FACTORS = (0.5, 1.0, 2.0)
ACTS = {"correction": ("look", "click", "stroke"), "region": ("region",)}
POINTS = 100


# Whole images at random, which nothing that chooses whole images beats clearly here
# (docs/decisions/004-default-strategy.md), against the others as they are at their best.
STRATEGIES_OF = {"image": ("random",), "region": ("default",), "correction": ("confident_errors",)}


@dataclass(frozen=True, kw_only=True)
class CorrectionCase:
    """One data set, and the ways to ask that are set beside each other there."""

    folder: str
    size: tuple[int, int]
    start: int
    rounds: int
    query_size: int
    units: tuple[Unit, ...] = ("image", "region", "correction")
    strategies: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: STRATEGIES_OF)
    corrections: int = MOST_CORRECTIONS
    region_px: int = 8
    settings: Mapping[str, Any] = field(default_factory=dict)


# Chosen on CamVid's val with half of the steps: docs/corrections.md says what else was tried.
CORRECT = {"spread_weight": 0.3, "spread_similarity": 0.7, "uncorrected_weight": 0.01}
CASES = {
    "camvid": CorrectionCase(
        folder="camvid",
        size=(192, 256),
        start=3,
        rounds=2,
        query_size=6,
        settings={"correct": CORRECT},
    ),
    "dsb2018": CorrectionCase(
        folder="dsb2018",
        size=(256, 256),
        start=3,
        rounds=2,
        query_size=6,
        settings={"correct": CORRECT},
    ),
    # Few clicks in most images, and no image painted whole: how far do how few pixels lead?
    "camvid_pixels": CorrectionCase(
        folder="camvid",
        size=(192, 256),
        start=40,
        rounds=3,
        query_size=85,
        units=("correction",),
        strategies={"correction": ("confident_errors", "random")},
        settings={"correct": CORRECT, "acquire": {"audit_share": 0.0}},
    ),
}


def main() -> None:
    """Run the cases, then write the page of all that are kept."""
    args = arguments()
    camvid = locate(args.data)
    for name in args.cases:
        case = CASES[name]
        request = request_of(case, args, camvid)
        plans = plans_of(request.plan, case.units, case.region_px, case.corrections)
        own = {
            unit: replace(plan, strategies=case.strategies[unit]) for unit, plan in plans.items()
        }
        keep(name, compare_units(request, own))


def arguments() -> argparse.Namespace:
    """What to run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds the sets and encoders/")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--score-on", choices=("val", "test"), default="val")
    parser.add_argument("--cache", type=Path, help="as of ssl-loop backtest")
    return parser.parse_args()


def request_of(case: CorrectionCase, args: argparse.Namespace, camvid: CamVid) -> BacktestRequest:
    """The backtest of a case, as `ssl-loop backtest --unit ...` would ask for it."""
    height_px, width_px = case.size
    return BacktestRequest(
        root=args.data / case.folder,
        plan=Plan(
            strategies=("random",),
            start=case.start,
            rounds=case.rounds,
            query_size=case.query_size,
            seeds=args.seeds,
        ),
        score_on=args.score_on,
        settings={
            "embed": camvid.settings(seed=0, steps=STEPS)["embed"],
            "image": {"height_px": height_px, "width_px": width_px},
            **case.settings,
        },
        cache=args.cache,
    )


def keep(name: str, found: dict[str, Any]) -> None:
    """corrections/<case>.json and corrections.md anew; of the split test, every day it was read."""
    folder = RESULTS / "corrections"
    on_test = next(iter(found["units"].values()))["score_on"] == "test"
    kept = folder / f"{name}{'-test' if on_test else ''}.json"
    if on_test:
        seen = read_json(kept)["test_read"] if kept.exists() else []
        found["test_read"] = [*seen, datetime.datetime.now(datetime.UTC).date().isoformat()]
    write_json(kept, found)
    write_report({file.stem: read_json(file) for file in sorted(folder.glob("*.json"))})


def write_report(found: Mapping[str, Mapping[str, Any]]) -> None:
    """corrections.md from the results there are."""
    lines = [
        "# Corrections, regions, whole images: which teaches most per minute?",
        "",
        "`python -m benchmarks.corrections --data DIR`: the fast backtest, in points of mIoU "
        f"(docs/corrections.md), {machine()}. Assumed: {SECONDS.look:g} s to look through an "
        f"image, {SECONDS.click:g} s for a click, {SECONDS.region:g} s for a region, and of a "
        "whole image what docs/stopping.md says.",
        "",
    ]
    for name, result in found.items():
        lines += [f"## {name}", "", *section(result), ""]
    write_text(RESULTS / "corrections.md", "\n".join(lines))


def section(result: Mapping[str, Any]) -> Sequence[str]:
    """One case: who is ahead by minutes, at which seconds, and the last point of every way."""
    units = result["units"]
    first = next(iter(units.values()))
    days = ", ".join(result.get("test_read", []))
    lines = [
        f"{first['num_pool']} images to ask for, {first['num_scored']} of {first['score_on']} to "
        f"judge by{f' (read {days})' if days else ''}, {first['num_seeds']} seed(s); all masks: "
        f"{POINTS * first['full_supervision_miou']:.1f}.",
        "",
        *table(last_points(units)),
        "",
    ]
    if len(units) > 1:
        lines += [result["verdict"], "", *table(at_other_seconds(units)), ""]
    return lines


def last_points(units: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where every way to ask ends."""
    return [
        {
            "way": f"{unit}/{name}",
            "minutes": spread_of([course[-1] for course in row["minutes"]], 0),
            "% of the pixels": f"{POINTS * np.mean([c[-1] for c in row['pixel_share']]):.3f}",
            "mIoU": spread([course[-1] for course in row["miou"]]),
            "% of the ceiling": f"{100 * np.mean([c[-1] for c in row['miou']]) / full:.1f}",
        }
        for unit, result in units.items()
        for full in [result["full_supervision_miou"]]
        for name, row in result["strategies"].items()
    ]


def spread_of(values: Sequence[float], digits: int) -> str:
    """Mean of plain numbers."""
    return f"{np.mean(values):.{digits}f}"


def at_other_seconds(units: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Difference to whole images at random, were people's acts half or twice as slow."""
    rows = []
    for slow, acts in ACTS.items():
        for factor in FACTORS:
            found = by_minutes(units, SECONDS.scaled(factor, *acts))
            told = {
                way: "-" if row["minus_reference"] is None else signed(row["minus_reference"])
                for way, row in found["ways"].items()
            }
            minutes = found["minutes"]
            over = "none" if minutes is None else f"{minutes[0]:.0f} to {minutes[1]:.0f}"
            rows.append({"seconds": f"{factor:g} x {slow}", "minutes in common": over, **told})
    return [dict.fromkeys(rows[0], "-") | row for row in rows]


def signed(gain: Sequence[float | None]) -> str:
    """A difference in points with its interval."""
    mean, low, high = (None if value is None else POINTS * value for value in gain)
    if low is None or high is None:
        return f"{mean:+.1f}"
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
