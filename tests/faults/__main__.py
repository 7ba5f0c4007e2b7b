"""`python -m tests.faults [N]`, or `make faults`: play N faults, resumable, and write the table."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from rich.progress import Progress

from pipeline.files import write_text
from tests.faults.driver import Outcome
from tests.faults.kinds import cases
from tests.faults.pool import played
from tests.faults.report import markdown, revision

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build/faults"
TABLE = ROOT / "benchmarks/results/faults.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("number", type=int, nargs="?", default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with its own tool")
    parser.add_argument("--only", default="", help="a pattern in the names of kinds")
    parser.add_argument("--no-table", action="store_true", help="write no benchmarks/results")
    args = parser.parse_args()
    wanted = [case for case in cases(args.number, args.seed) if re.search(args.only, case[0])]
    commit = revision()
    file = KEPT / f"{commit}-{args.seed}.jsonl"
    outcomes = {case: outcome for case, outcome in known(file).items() if case in wanted}
    todo = [case for case in wanted if case not in outcomes]
    print(f"{len(wanted)} faults, {len(wanted) - len(todo)} known from {file}")
    try:
        play_all(todo, args.jobs, outcomes, file)
    except KeyboardInterrupt:
        left = sum(case not in outcomes for case in wanted)
        print(f"stopped: {left} are left; the same command at the same commit goes on")
        return 130
    found = [outcomes[case] for case in wanted]
    text = markdown(found, commit, args.seed)
    print(text)
    if not args.no_table:
        write_text(TABLE, text)
    return int(not all(outcome.held for outcome in found))


def play_all(
    todo: list[tuple[str, int]], jobs: int, outcomes: dict[tuple[str, int], Outcome], file: Path
) -> None:
    """Put the outcome of each into `outcomes` and into the file, as they come."""
    with tempfile.TemporaryDirectory(prefix="ssl-loop-faults-") as folder, Progress() as progress:
        bar = progress.add_task("faults", total=len(outcomes) + len(todo), completed=len(outcomes))
        for outcome in played(todo, Path(folder), jobs):
            outcomes[outcome.kind, outcome.seed] = outcome
            with file.open("a") as kept:
                kept.write(json.dumps(outcome.as_dict()) + "\n")
            if not outcome.held:
                progress.print(f"{outcome.kind}, seed {outcome.seed}: {outcome.in_words()}")
            progress.advance(bar)


def known(file: Path) -> dict[tuple[str, int], Outcome]:
    """What was played at this revision before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        return {}
    # A line without an end was being written when the process was killed.
    lines = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    write_text(file, "".join(lines))
    outcomes = [Outcome(**json.loads(line)) for line in lines]
    return {(outcome.kind, outcome.seed): outcome for outcome in outcomes}


if __name__ == "__main__":
    sys.exit(main())
