"""Faults played by processes that each have a Label Studio of their own."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from flows.services.label_studio_server import find_label_studio
from tests.faults.driver import Outcome, play
from tests.faults.place import Place, open_place
from tests.support.label_studio_server import PERSON, migrated_copy

ROOT = Path(__file__).parents[2]
_places: list[Place] = []


def played(todo: list[tuple[str, int]], folder: Path, jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come, from processes that each have a tool of their own."""
    if not todo:
        return
    template = migrated_template(folder)
    waiting, running = list(reversed(todo)), set[Future[Outcome]]()
    with ProcessPoolExecutor(
        max(1, min(jobs, len(todo))),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(template, folder),
    ) as pool:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.add(pool.submit(_play, *waiting.pop()))
            try:
                done, running = wait(running, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:  # what is under way ends, and counts
                print(f"{len(running)} under way, to the end of which it takes half a minute")
                yield from (one.result() for one in running)
                raise
            yield from (one.result() for one in done)


def _begin(template: Path, folder: Path) -> None:
    # Ctrl-C is for the process that collects; a fault that it reached would not be one of ours.
    os.setsid()
    with (folder / f"output-{os.getpid()}.log").open("wb") as log:
        for stream in (sys.stdout, sys.stderr):  # DVC talks past Python's redirections
            os.dup2(log.fileno(), stream.fileno())
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
