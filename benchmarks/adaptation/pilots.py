"""Which settings adapt best at the shift, on dusk train frames that no training learns from.

`python -m benchmarks.adaptation.pilots --data DIR` trains what is missing and writes
adaptation_changes.{json,md} beside the other results after each training. The dusk train frames
are three blocks of 20 and two frames more; one block is held out, the rest is the pool. On the
third, the val of `benchmarks.adaptation`, the first defaults were chosen; what was found there
since was checked on the other two. The day models are those that `benchmarks.adaptation`
has trained before: they have seen no dusk. Test is not read.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.adaptation.trainings import (
    DAY,
    DAY_STEPS,
    DUSK,
    WORK,
    AdaptationRun,
    Bench,
    lay_out,
)
from benchmarks.camvid.day_and_dusk import CamVid, locate
from benchmarks.support import RESULTS, machine, read_json, spread, table
from pipeline.files import write_json, write_text

Change = dict[str, dict[str, Any]]
FIRST = "the first default"
CHANGES: dict[str, Change] = {
    FIRST: {},
    "fourier_beta 0.01": {"adapt": {"fourier_beta": 0.01}},
    "fourier_beta 0.05": {"adapt": {"fourier_beta": 0.05}},
    "rare_class_sampling": {"train": {"rare_class_sampling": True}},
    "source_weight 1": {"adapt": {"source_weight": 1.0}},
    "four times the steps": {"train": {"steps": 600}},
    f"from scratch, {DAY_STEPS} steps": {
        "adapt": {"warm_start": False},
        "train": {"steps": DAY_STEPS},
    },
    "without cross_domain_mix": {"adapt": {"cross_domain_mix": False}},
    "without cross_domain_mix, 600 steps": {
        "adapt": {"cross_domain_mix": False},
        "train": {"steps": 600},
    },
}
"""One or two settings of the first default each: 150 steps, and the mix whatever is labelled."""
BASE: Change = {"train": {"steps": 150}, "adapt": {"cross_domain_mix": True}}
SEEDS = 3
DAY_MODELS = [AdaptationRun(kind="as_is", labels=0, seed=seed) for seed in range(SEEDS)]


class PilotTable(NamedTuple):
    """A table: which blocks are held out in turn, and what is trained without each."""

    title: str
    blocks: tuple[int, ...]
    changes: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]


PARTS = (
    PilotTable(
        "Checked: the first and the second block of dusk held out",
        (0, 1),
        (FIRST, "without cross_domain_mix", "without cross_domain_mix, 600 steps"),
        (("herding", 8), ("random", 8)),
    ),
    PilotTable(
        "Found: the third block held out, the val of adaptation.md",
        (2,),
        tuple(CHANGES)[:-1],
        (("unlabelled", 0), ("herding", 8), ("random", 8)),
    ),
)
FILE = RESULTS / "adaptation_changes.json"
Found = dict[str, Mapping[str, Any]]


def main() -> None:
    """Run what is missing, block by block."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="camvid/, dsb2018/, encoders/")
    parser.add_argument("--blocks", nargs="+", type=int, choices=(0, 1, 2), default=(0, 1, 2))
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    args = parser.parse_args()
    for part in PARTS:
        for block in sorted(set(part.blocks) & set(args.blocks)):
            bench = bench_without(block, locate(args.data), args.data / "dsb2018")
            runs = plan(part, args.changes)
            for place, run in enumerate(runs, start=1):
                if (name := named(block, run)) in kept():
                    continue
                print(f"block {block}, {place}/{len(runs)} {run.name}", flush=True)
                new = bench.judge(run)["val_present"] if run.change else bench.judged(run)
                found: Found = {**kept(), name: new}  # read again: another block may be run beside
                write_json(FILE, found)
                write_text(FILE.with_suffix(".md"), "\n".join(page(found)))


def plan(part: PilotTable, changes: Sequence[str]) -> list[AdaptationRun]:
    """Without one block: the day models first, to which all is set beside."""
    return DAY_MODELS + [
        AdaptationRun(kind=kind, labels=labels, seed=seed, change=change)
        for seed in range(SEEDS)
        for kind, labels in part.rows
        for change in part.changes
        if change in changes
    ]


def bench_without(block: int, camvid: CamVid, cells: Path) -> Bench:
    """The adaptation benchmark with a block of dusk held out, and its day models."""
    work = WORK / f"dusk-block-{block}"
    if not (work / "root").exists():
        lay_out(camvid, cells, work / "root", dusk_block=block)
    for day in DAY_MODELS:
        network = Path("networks") / day.name
        shutil.copytree(WORK / network, work / network, dirs_exist_ok=True)
    return Bench(camvid, cells, work, {name: over_base(each) for name, each in CHANGES.items()})


def over_base(change: Change) -> Change:
    """What differs from today's defaults."""
    return {block: BASE.get(block, {}) | change.get(block, {}) for block in {*BASE, *change}}


def named(block: int, run: AdaptationRun) -> str:
    """Of a result."""
    return f"block-{block}/{run.name}"


def kept() -> Found:
    """Results so far, by name."""
    return dict(read_json(FILE)) if FILE.exists() else {}


def page(found: Found) -> list[str]:
    """The Markdown."""
    lines = [
        "# Adapting at the shift: settings beside each other",
        "",
        f"`python -m benchmarks.adaptation.pilots --data DIR`: CamVid day -> dusk, {machine()}. "
        "Points of mIoU against the day model of the same seed on 20 dusk train frames that are "
        f"held out, mean +- sample standard deviation over {SEEDS} seeds and the blocks, over the "
        "classes that the masks show (with 20 frames a class that none of them shows would move "
        "mIoU by 4 points); day: the usual val frames. The first default took 150 steps and pasted "
        "labelled classes onto dusk whether or not it had labels of its own; each row changes what "
        "it names.",
        "",
    ]
    for part in PARTS:
        rows = [{"change": change, **cells(found, part, change)} for change in part.changes]
        lines += [f"## {part.title}", "", *table(rows), ""]
    return lines


def cells(found: Found, part: PilotTable, change: str) -> dict[str, str]:
    """Of one row of a table."""
    return {
        f"{kind} {labels}: {domain}": said(gains(found, part, change, (kind, labels), domain), part)
        for kind, labels in part.rows
        for domain in (DUSK, DAY)
    }


def gains(
    found: Found, part: PilotTable, change: str, row: tuple[str, int], domain: str
) -> list[float]:
    """Over the day model of the same seed on the same block."""
    pairs = [
        (
            found.get(
                named(
                    block, AdaptationRun(kind=row[0], labels=row[1], seed=day.seed, change=change)
                )
            ),
            found.get(named(block, day)),
        )
        for block in part.blocks
        for day in DAY_MODELS
    ]
    return [one[domain] - base[domain] for one, base in pairs if one and base]


def said(gains: Sequence[float], part: PilotTable) -> str:
    """Mean and spread; empty where nothing was run."""
    if not gains:
        return ""
    whole = SEEDS * len(part.blocks)
    return spread(gains, sign=True) + ("" if len(gains) == whole else f" ({len(gains)} of {whole})")


if __name__ == "__main__":
    main()
