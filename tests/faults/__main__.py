"""`python -m tests.faults [N]`, or `make faults`: play N faults, resumable, and write the table."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.camvid_report import RESULTS
from flows.label_studio_server import find_label_studio, migrated_copy
from pipeline.files import write_text
from tests.faults.driver import Outcome, play
from tests.faults.kinds import cases
from tests.faults.place import Place, open_place
from tests.faults.report import markdown
from tests.label_studio_server import PERSON

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build/faults"
_places: list[Place] = []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("number", type=int, nargs="?", default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with its own tool")
    parser.add_argument("--only", default="", help="a part of the names of kinds")
    parser.add_argument("--no-table", action="store_true", help="write no benchmarks/results")
    args = parser.parse_args()
    wanted = [case for case in cases(args.number, args.seed) if args.only in case[0]]
    file = KEPT / f"{revision()}-{args.seed}.jsonl"
    outcomes = known(file)
    todo = [case for case in wanted if case not in outcomes]
    print(f"{len(wanted)} faults, {len(wanted) - len(todo)} known from {file}")
    with tempfile.TemporaryDirectory(prefix="ssl-loop-faults-") as folder, Progress() as progress:
        bar = progress.add_task("faults", total=len(wanted), completed=len(wanted) - len(todo))
        for outcome in played(todo, Path(folder), args.jobs):
            outcomes[outcome.kind, outcome.seed] = outcome
            with file.open("a") as kept:
                kept.write(json.dumps(outcome.as_dict()) + "\n")
            if not outcome.held:
                progress.print(f"{outcome.kind}, seed {outcome.seed}: {outcome.in_words()}")
            progress.advance(bar)
    found = [outcomes[case] for case in wanted]
    text = markdown(found, revision(), args.seed)
    print(text)
    if not args.no_table:
        write_text(RESULTS / "faults.md", text)
    return int(not all(outcome.held for outcome in found))


def played(todo: list[tuple[str, int]], folder: Path, jobs: int) -> Any:
    """Outcomes as they come, from processes that each have a tool of their own."""
    if not todo:
        return
    template = migrated_template(folder)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        max(1, min(jobs, len(todo))),
        mp_context=context,
        initializer=_begin,
        initargs=(template, folder),
    ) as pool:
        for done in as_completed([pool.submit(_play, *case) for case in todo]):
            yield done.result()


def _begin(template: Path, folder: Path) -> None:
    import atexit

    opened = open_place(template, folder / f"place-{os.getpid()}")
    _places.append(opened.__enter__())
    atexit.register(opened.__exit__, None, None, None)


def _play(name: str, seed: int) -> Outcome:
    return play(_places[0], name, seed)


def migrated_template(folder: Path) -> Path:
    """A migrated folder of the installed Label Studio, kept between runs."""
    program = find_label_studio()
    site = next((program.parent.parent / "lib").glob("*/site-packages/label_studio-*.dist-info"))
    template = ROOT / ".pytest_cache/d/label-studio" / site.stem
    template.parent.mkdir(parents=True, exist_ok=True)
    migrated_copy(template, folder / "migrated", credentials=PERSON)
    shutil.rmtree(folder / "migrated")
    return template


def known(file: Path) -> dict[tuple[str, int], Outcome]:
    """What was played at this revision before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        return {}
    outcomes = [Outcome(**json.loads(line)) for line in file.read_text().splitlines()]
    return {(outcome.kind, outcome.seed): outcome for outcome in outcomes}


def revision() -> str:
    """The commit, with a mark when files differ from it."""
    argv = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.check_output(argv, cwd=ROOT, text=True).strip()


if __name__ == "__main__":
    sys.exit(main())
