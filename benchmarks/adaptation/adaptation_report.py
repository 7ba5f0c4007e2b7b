"""Table and plot of benchmarks/adaptation/trainings.py. Differences are of the same seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support import POINTS, RESULTS, machine, pyplot, save_plot, spread, table
from pipeline.files import write_json, write_text

Result = Mapping[str, Any]
WORDS = {
    "as_is": "(a) day model as it is",
    "longer": "(a') as (a), trained on as long with day labels alone",
    "unlabelled": "(b) adapted without dusk labels",
    "herding": "(c) dusk images asked for by `herding`, the default",
    "medoids": "(c) dusk images asked for: medoids of the embeddings",
    "random": "(d) dusk images drawn at random",
    "all": "(e) all dusk labels",
    "junk_let_in": "(b) with 20 % junk in the dusk pool, let in",
    "junk_left_out": "(b) with 20 % junk in the dusk pool, hygiene on",
}
JUNK_BAR = 0.01


def write_report(found: Sequence[Result]) -> None:
    """adaptation.{json,md,svg}: every kind of training, all seeds."""
    if not found:
        return
    splits = [s for s in ("val", "test") if all(s in each for each in found) or s == "val"]
    write_json(RESULTS / "adaptation.json", list(found))
    lines = [
        "# CamVid day, then dusk: adapting at the shift",
        "",
        "`python -m benchmarks.adaptation --data DIR`. mIoU in points, mean +- sample standard "
        "deviation over the seeds; gains and gaps are of the same seed. Every row but (a) starts "
        f"from the day model of its seed and takes {_steps(found)} steps. Val: 20 frames held out "
        "of the dusk train images, so few that a class which none of them shows moves mIoU by 4 "
        f"points when a single pixel is taken for it; test: the official split{_days(found)}, the "
        "last time with today's defaults, which were chosen on other dusk train frames: "
        "[adaptation_changes.md](adaptation_changes.md). What it gave with earlier ones, and the "
        "first trials on val: [adaptation_pilots.md](adaptation_pilots.md).",
        "",
    ]
    for split in splits:
        lines += [f"## {split}", "", *table(_rows(found, split)), "", *_verdict(found, split)]
    lines += [f"Measured on {machine()}.", "", "![dusk mIoU by labels](adaptation.svg)", ""]
    write_text(RESULTS / "adaptation.md", "\n".join(lines))
    _plot(found, splits[-1], RESULTS / "adaptation.svg")


def _days(found: Sequence[Result]) -> str:
    days = sorted({day for each in found for day in each.get("test_read", ())})
    return f", read on {' and '.join(days)}" if days else ""


def _steps(found: Sequence[Result]) -> int:
    return next((each["steps"] for each in found if each["kind"] != "as_is"), 0)


def _rows(found: Sequence[Result], split: str) -> list[dict[str, str]]:
    """One row per kind and number of labels, in the order of WORDS."""
    keys = {(each["kind"], each["labels"]) for each in found if split in each}
    rows = []
    for kind, labels in sorted(keys, key=lambda key: (list(WORDS).index(key[0]), key[1])):
        dusk = by_seed(found, kind, labels, split, "dusk")
        rows.append(
            {
                "training": WORDS[kind],
                "dusk labels": str(labels),
                "dusk": spread(dusk.values()),
                "each seed": ", ".join(f"{POINTS * value:.1f}" for value in dusk.values()),
                "gain over (a)": _gain(found, kind, labels, split, "dusk"),
                "share of the gap (a) to (e)": _closed(found, kind, labels, split),
                "day": spread(by_seed(found, kind, labels, split, "day").values()),
                "day - (a)": _gain(found, kind, labels, split, "day"),
            }
        )
    return rows


def by_seed(
    found: Sequence[Result], kind: str, labels: int | None, split: str, domain: str
) -> dict[int, float]:
    """mIoU in [0, 1] by seed; `labels` None = however many."""
    return {
        each["seed"]: each[split][domain]
        for each in sorted(found, key=lambda each: each["seed"])
        if each["kind"] == kind and labels in (None, each["labels"]) and split in each
    }


def gains(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """`one` minus `other` of the seeds that both have."""
    return [one[seed] - other[seed] for seed in one if seed in other]


def closed_share(
    base: Mapping[int, float], some: Mapping[int, float], ceiling: Mapping[int, float]
) -> float | None:
    """Mean gain over mean gap, of the seeds that all three have; None without a gap."""
    seeds = sorted(base.keys() & some.keys() & ceiling.keys())
    gap = sum(ceiling[seed] - base[seed] for seed in seeds)
    return sum(some[seed] - base[seed] for seed in seeds) / gap if gap > 0 else None


def _gain(found: Sequence[Result], kind: str, labels: int, split: str, domain: str) -> str:
    own = by_seed(found, kind, labels, split, domain)
    return spread(gains(own, by_seed(found, "as_is", 0, split, domain)), sign=True)


def _closed(found: Sequence[Result], kind: str, labels: int, split: str) -> str:
    own = by_seed(found, kind, labels, split, "dusk")
    base = by_seed(found, "as_is", 0, split, "dusk")
    share = closed_share(base, own, by_seed(found, "all", None, split, "dusk"))
    return "-" if share is None else f"{share:.0%}"


def _verdict(found: Sequence[Result], split: str) -> list[str]:
    """What was asked for, and what came out; only of rows that are there."""
    of = {
        name: by_seed(found, kind, labels, split, "dusk")
        for name, kind, labels in (
            ("a", "as_is", 0),
            ("a'", "longer", 0),
            ("b", "unlabelled", 0),
            ("c", "herding", 8),
            ("d", "random", 8),
            ("e", "all", None),
            ("let in", "junk_let_in", None),
            ("left out", "junk_left_out", None),
        )
    }
    lines = []
    if adapted := gains(of["b"], of["a"]):
        lines.append(f"- (b) - (a): {spread(adapted, sign=True)}; asked for: +2 or more.")
    share = closed_share(of["a"], of["c"], of["e"])
    if share is not None and of["c"]:
        lines.append(f"- (c) at 8 closes {share:.0%} of the gap; asked for: 75 % or more.")
    share = closed_share(of["a'"], of["c"], of["e"])
    if share is not None and of["c"]:
        lines.append(
            f"- (c) at 8 closes {share:.0%} of the gap from (a') to (e): what as many steps more "
            "give without a dusk image is not counted."
        )
    if pairs := gains(of["c"], of["d"]):
        lines.append(f"- (c) - (d) at 8: {spread(pairs, sign=True)}; asked for: above 0.")
    day = [
        gains(by_seed(found, kind, n, split, "day"), by_seed(found, "as_is", 0, split, "day"))
        for kind, n in (("unlabelled", 0), ("herding", 8))
    ]
    for name, lost in zip(("(b)", "(c) at 8"), day, strict=True):
        if lost:
            lines.append(f"- day after {name}: {spread(lost, sign=True)}; asked for: -1 or better.")
    for name in ("let in", "left out"):
        if pairs := gains(of[name], of["b"]):
            lines.append(
                f"- junk {name}, against (b) on the clean pool: {spread(pairs, sign=True)}; "
                "asked for: within 1."
            )
    return [*lines, ""] if lines else []


def _plot(found: Sequence[Result], split: str, path: Path) -> None:
    figure, axis = pyplot().subplots(figsize=(7, 4.2))
    lines = (("as_is", "#777777"), ("unlabelled", "#2563eb"), ("all", "#15803d"))
    for kind, colour in lines:
        if values := list(by_seed(found, kind, None, split, "dusk").values()):
            mean = POINTS * statistics.fmean(values)
            axis.axhline(mean, color=colour, linestyle="--", label=WORDS[kind])
    for kind, colour in (("herding", "#c2410c"), ("random", "#6b7280"), ("medoids", "#7c3aed")):
        counts = sorted({e["labels"] for e in found if e["kind"] == kind and split in e})
        means = []
        for count in counts:
            values = [POINTS * v for v in by_seed(found, kind, count, split, "dusk").values()]
            means.append(statistics.fmean(values))
            axis.plot([count] * len(values), values, ".", color=colour, alpha=0.5)
        if counts:
            axis.plot(counts, means, "o-", color=colour, label=WORDS[kind])
    axis.set_xlim(left=0)
    axis.set_xlabel("dusk images with a label")
    axis.set_ylabel(f"dusk mIoU on {split}, points")
    axis.legend(fontsize=7)
    figure.tight_layout()
    save_plot(figure, path)
