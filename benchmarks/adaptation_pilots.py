"""Other settings of adapting at the shift, beside the default, on val alone.

`python -m benchmarks.adaptation_pilots --data DIR` trains what is missing and writes
adaptation_pilots.json and the table adaptation_changes.md beside the other results after each
training; the day models and the defaults are what `benchmarks.adaptation` has trained before. Each
change is of one setting, with the seeds, labels and steps of that benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.adaptation import DAY, DAY_STEPS, DUSK, WORK, Bench, Run
from benchmarks.adaptation_report import spread
from benchmarks.camvid import locate
from benchmarks.camvid_report import RESULTS, machine, markdown, read_json
from pipeline.files import write_json, write_text

CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "": {},
    "fourier_beta 0.01": {"adapt": {"fourier_beta": 0.01}},
    "fourier_beta 0.05": {"adapt": {"fourier_beta": 0.05}},
    "rare_class_sampling": {"train": {"rare_class_sampling": True}},
    "source_weight 1": {"adapt": {"source_weight": 1.0}},
    "without cross_domain_mix": {"adapt": {"cross_domain_mix": False}},
    "four times the steps": {"train": {"steps": 600}},
    f"from scratch, {DAY_STEPS} steps": {
        "adapt": {"warm_start": False},
        "train": {"steps": DAY_STEPS},
    },
}
ROWS = (("unlabelled", 0), ("herding", 8), ("random", 8))
SEEDS = 3
FILE = RESULTS / "adaptation_pilots.json"


def main() -> None:
    """Run what is missing, change by change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="camvid/, dsb2018/, encoders/")
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--rows", nargs="+", choices=[kind for kind, _ in ROWS],
                        default=[kind for kind, _ in ROWS])  # fmt: skip
    args = parser.parse_args()
    bench = Bench(locate(args.data), args.data / "dsb2018", WORK, CHANGES)
    found: dict[str, Any] = dict(read_json(FILE)) if FILE.exists() else {}
    plan = [Run(kind="as_is", labels=0, seed=seed) for seed in range(SEEDS)]
    plan += [
        Run(kind=kind, labels=labels, seed=seed, change=change)
        for change in args.changes
        for kind, labels in ROWS
        for seed in range(SEEDS)
        if kind in args.rows
    ]
    for place, run in enumerate(plan, start=1):
        if run.name not in found:
            print(f"{place}/{len(plan)} {run.name}", flush=True)
            found[run.name] = bench.judge(run)["val_present"] if run.change else bench.judged(run)
            write_json(FILE, found)
            write_text(RESULTS / "adaptation_changes.md", "\n".join(page(found)))


def page(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The Markdown."""
    rows = []
    for change in CHANGES:
        row = {"change": change or "none: the default"}
        for kind, labels in ROWS:
            names = [
                Run(kind=kind, labels=labels, seed=seed, change=change).name
                for seed in range(SEEDS)
            ]
            there = [(seed, found[name]) for seed, name in enumerate(names) if name in found]
            for domain in (DUSK, DAY):
                gains = [each[domain] - found[f"as_is-0-seed-{n}"][domain] for n, each in there]
                row[f"{kind} {labels}: {domain}"] = said(gains)
        rows.append(row)
    return [
        "# Adapting at the shift: other settings than the default",
        "",
        "`python -m benchmarks.adaptation_pilots --data DIR`: CamVid day -> dusk, val, "
        f"{machine()}. Points of mIoU against the day model of the same seed, mean +- sample "
        f"standard deviation over {SEEDS} seeds, over the classes that the val masks show (with "
        "20 dusk frames a class that none of them shows would move mIoU by 4 points). Each row "
        "changes one setting of the default.",
        "",
        *markdown(rows),
        "",
    ]


def said(gains: Sequence[float]) -> str:
    """Mean and spread; empty where nothing was run."""
    if not gains:
        return ""
    seeds = "" if len(gains) == SEEDS else f" ({len(gains)} of them)"
    return spread(gains, sign=True) + seeds


if __name__ == "__main__":
    main()
