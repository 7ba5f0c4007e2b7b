"""`python -m tests.mutants`, or `make mutants`: plant faults, one at a time; all must be caught.

In a copy of the checkout, where the tests that must catch them pass first. Writes
tests/mutations.md.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.files import write_text
from tests.mutants.bench import Bench, Outcome, bench
from tests.mutants.mutant import Mutant, stale
from tests.mutants.planted import PLANTED

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/mutations.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="a pattern in subject, file or fault")
    args = parser.parse_args()
    wanted = chosen(args.only)
    if not wanted:
        print(f"--only {args.only}: fits none of {sum(map(len, PLANTED.values()))} faults")
        return 2
    if old := stale(ROOT, wanted):
        print("The table tests/mutants/ is stale:", *old, sep="\n")
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="ssl-loop-mutants-") as folder,
        bench(ROOT, Path(folder)) as place,
    ):
        outcomes = play(place, wanted)
    if not outcomes:
        return 2
    if not args.only:
        write_text(TABLE, markdown(outcomes))
    survived = [one.mutant.what for one in outcomes if not one.caught_by]
    print(f"{len(outcomes) - len(survived)} of {len(outcomes)} caught")
    for what in survived:
        print(f"SURVIVED: {what}")
    return int(bool(survived))


def chosen(pattern: str) -> list[Mutant]:
    """In the order of the table."""
    return [
        mutant
        for subject, mutants in PLANTED.items()
        for mutant in mutants
        if re.search(pattern, f"{subject}: {mutant.file}: {mutant.what}")
    ]


def play(place: Bench, mutants: list[Mutant]) -> list[Outcome]:
    """The outcome of each; none where a test fails before anything is planted."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *columns) as progress:
        bar = progress.add_task("unharmed", total=len(mutants))
        tests = sorted({test for mutant in mutants for test in mutant.selection})
        if failing := place.failing(tests, keep_bytecode=True):
            progress.print(f"{failing} fails without any fault: mend that first")
            return []
        outcomes = []
        for mutant in mutants:
            progress.update(bar, description=mutant.file)
            outcomes.append(outcome := place.judged(mutant))
            said = outcome.caught_by or "SURVIVED"
            line = f"{outcome.seconds:5.1f} s  {mutant.what}: {said}"
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
            progress.advance(bar)
    return outcomes


def markdown(outcomes: list[Outcome]) -> str:
    """The page: a table for each subject."""
    caught = sum(bool(one.caught_by) for one in outcomes)
    seconds = sum(one.seconds for one in outcomes)
    lines = [
        "# Mutations",
        "",
        f"`make mutants`: {caught} of {len(outcomes)} planted faults are caught, in "
        f"{seconds / 60:.0f} minutes. Each is planted alone in a copy of the checkout; what is",
        "planted and which tests must notice: `tests/mutants/`.",
    ]
    found = {one.mutant: one for one in outcomes}
    for subject, mutants in PLANTED.items():
        lines += ["", f"## {subject}", "", "| what is wrong | file | caught by | s |"]
        lines += ["|---|---|---|---:|", *(_row(found[mutant]) for mutant in mutants)]
    return "\n".join(lines) + "\n"


def _row(one: Outcome) -> str:
    by = f"`{one.caught_by}`" if one.caught_by else "**nothing**"
    cells = (one.mutant.what, f"`{one.mutant.file}`", by, f"{one.seconds:.0f}")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
