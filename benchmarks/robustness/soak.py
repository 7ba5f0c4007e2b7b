"""Soak: the schedule with random annotators on the real services, and what grows.

`python -m benchmarks.robustness.soak [--minutes 60]`. A workspace of the tests' toy stages on
Prefect, worker, Label Studio and receiver; people answer, skip and edit at random, so that rounds
come and go. Every few seconds memory, open files and sizes are taken; a line through the second
half of each says whether it is flat. Writes soak.{json,md}.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sqlite3
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.robustness.toy_site import start, tool_of, toy_site
from benchmarks.support import RESULTS, machine
from flows.services import prefect_server, stack
from flows.services.daemon import read_daemons
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.files import write_json, write_text
from tests.faults.people import painted, pixels, truth

SCHEDULE_S = 20
EVERY_S = 10.0
IMAGES, QUERY_SIZE = 600, 3
MB = 1e6
# A service is flat when it would gain less than this in an hour, whatever it has.
LIMITS = {"MB": 30.0, "files": 10.0}
DATABASE = "prefect database"


@dataclass
class Samples:
    """Minutes since the start, and every quantity as it was then."""

    minutes: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, minute: float, now: dict[str, float]) -> None:
        """What is missing now is not a number."""
        self.minutes.append(round(minute, 2))
        for name in now.keys() | self.values.keys():
            before = [float("nan")] * (len(self.minutes) - 1)
            self.values.setdefault(name, before).append(now.get(name, float("nan")))

    def per_hour(self, name: str) -> float:
        """Slope of a line through the second half: caches fill in the first."""
        half = len(self.minutes) // 2
        x, y = np.array(self.minutes[half:]) / 60, np.array(self.values[name][half:])
        known = np.isfinite(y)
        return float(np.polyfit(x[known], y[known], 1)[0]) if known.sum() > 2 else float("nan")


def main() -> None:
    """Soak, stop the services, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, help="a new folder, kept with its logs")
    args = parser.parse_args()
    with contextlib.ExitStack() as opened:
        folder = args.folder or Path(
            opened.enter_context(tempfile.TemporaryDirectory(prefix="ssl-loop-soak-"))
        )
        # More images than an hour's people answer.
        site = toy_site(folder, images=IMAGES, query_size=QUERY_SIZE, seed=3)
        found = soak(opened.enter_context(site), args.minutes)
    write_json(RESULTS / "soak.json", found)
    text = markdown(found)
    write_text(RESULTS / "soak.md", text)
    print(text)


def soak(root: Path, minutes: float) -> dict[str, Any]:
    """Samples and counts of a run of so many minutes."""
    start(root, schedule_s=SCHEDULE_S)
    stop = threading.Event()
    people = People(tool_of(root), stop)
    people.start()
    samples, started = Samples(), time.monotonic()
    while (now := (time.monotonic() - started) / 60) < minutes:
        samples.add(now, taken(root))
        if len(samples.minutes) % 30 == 0:
            print(f"{now:.0f} min: {people.done}, {last(samples)}", flush=True)
        time.sleep(EVERY_S)
    stop.set()
    people.join()
    ends = ends_of_ticks(root)
    return {
        "minutes": round(minutes, 1),
        "answers": people.done,
        "tags": len(Workspace(root).tags_merged()),
        "ticks": len(ends),
        "longest_wait_s": round(longest_wait(ends, time.time())),
        "machine": machine(),
        "samples": {"minutes": samples.minutes, **samples.values},
        "per_hour": {name: round(samples.per_hour(name), 2) for name in sorted(samples.values)},
    }


class People(threading.Thread):
    """Answer, skip, edit, wait, as it comes."""

    def __init__(self, tool: httpx.Client, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._tool, self._stopped = tool, stop
        self._rng = np.random.default_rng(0)
        self.done = {"answered": 0, "skipped": 0, "edited": 0, "failed": 0}

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.wait(float(self._rng.exponential(4.0))):
            try:
                self._work()
            except (httpx.HTTPError, KeyError, ValueError):
                self.done["failed"] += 1

    def _work(self) -> None:
        projects = self._tool.get("/api/projects/").json()["results"]
        if not projects:
            return
        query = {"project": projects[0]["id"], "fields": "task_only", "page_size": 10_000}
        listed = self._tool.get("/api/tasks", params=query | {"include": "id,data"})
        for task in sorted(listed.json()["tasks"], key=lambda task: task["id"])[-QUERY_SIZE:]:
            path = f"/api/tasks/{task['id']}/annotations/"
            self._answer(task, path, self._tool.get(path).json())

    def _answer(self, task: dict[str, Any], path: str, known: list[dict[str, Any]]) -> None:
        image = self._tool.get(task["data"]["image"]).content
        result = painted(truth(pixels(image), int(self._rng.integers(5))))
        chance = self._rng.random()
        if known and chance < 0.1:
            body = {"result": result}
            self._tool.patch(f"/api/annotations/{known[0]['id']}/", json=body).raise_for_status()
            self.done["edited"] += 1
        elif not known:
            skips = chance > 0.9
            body = {"result": [] if skips else result, "was_cancelled": skips, "lead_time": 4.0}
            self._tool.post(path, json=body).raise_for_status()
            self.done["skipped" if skips else "answered"] += 1


def taken(root: Path) -> dict[str, float]:
    """Memory in MB and open files of each service with its children, sizes in MB."""
    now: dict[str, float] = {}
    for name, daemon in read_daemons(root).items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(daemon.pid)
            now[f"{name} memory MB"] = process.memory_info().rss / MB
            now[f"{name} open files"] = float(process.num_fds())
            if name == stack.WORKER:
                runs = process.children(recursive=True)
                now["tick memory MB"] = _memory(runs) or float("nan")
    private = root / layout.PRIVATE
    now[f"{DATABASE} MB"] = size(root / prefect_server.HOME) / MB
    now["label studio's folder MB"] = size(root / stack.LABEL_STUDIO_DATA) / MB
    now["ledger MB"] = size(root / layout.LEDGER) / MB
    now["inbox MB"] = size(root / layout.INBOX) / MB
    now["logs MB"] = size(stack.logs(root)) / MB
    now[".ssl-loop files"] = float(sum(1 for _ in private.rglob("*")))
    return now


def _memory(processes: list[psutil.Process]) -> float:
    """Of the largest: a run with its stages is several, one after the other."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append(process.memory_info().rss / MB)
    return max(found, default=0.0)


def size(path: Path) -> float:
    """Bytes under it; files that go while one counts are none."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return float(total)


def ends_of_ticks(root: Path) -> list[float]:
    """Seconds since 1970 at which the flow's runs ended that did their work, in order.

    Runs that found another at work are cancelled, or named Busy, and do not count.
    """
    (file,) = (root / prefect_server.HOME).glob("prefect.db")
    asked = "SELECT unixepoch(end_time) FROM flow_run WHERE state_name = 'Completed' ORDER BY 1"
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
        return [float(end) for (end,) in database.execute(asked)]


def longest_wait(ends: Sequence[float], now: float) -> float:
    """Seconds between two ticks, or since the last: how long nothing of people's came in at most.

    Infinite where none has ended.
    """
    return max((after - before for before, after in pairwise([*ends, now])), default=math.inf)


def last(samples: Samples) -> str:
    """The newest of what counts most."""
    shown = [n for n in samples.values if n.endswith("memory MB") or n.startswith(DATABASE)]
    return ", ".join(f"{name} {samples.values[name][-1]:.0f}" for name in sorted(shown))


def is_flat(name: str, per_hour: float) -> bool | None:
    """None for what grows with the data by design."""
    if name.endswith("memory MB"):
        return per_hour < LIMITS["MB"]
    if name.endswith("open files"):
        return per_hour < LIMITS["files"]
    return None


def markdown(found: dict[str, Any]) -> str:
    """A row per quantity, with the verdict on those that must be flat."""
    samples, slopes = found["samples"], found["per_hour"]
    done = ", ".join(f"{number} {what}" for what, number in found["answers"].items())
    lines = [
        "# Soak",
        "",
        f"`python -m benchmarks.robustness.soak --minutes {found['minutes']:.0f}`: "
        f"{found['machine']}.",
        f"A tick every {SCHEDULE_S} s and at hooks: {found['ticks']} runs, at most "
        f"{found['longest_wait_s']} s from one's end to the next one's; {found['tags']} tags; "
        f"people: {done}. Per hour: the line through the second half. Flat: a service gains less "
        f"than {LIMITS['MB']:.0f} MB and {LIMITS['files']:.0f} open files in an hour.",
        "",
        "| | first | last | largest | per hour | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, slope in slopes.items():
        values = [value for value in samples[name] if value == value]
        flat = is_flat(name, slope)
        verdict = {None: "", True: "flat", False: "GROWS"}[flat]
        cells = [f"{v:.1f}" for v in (values[0], values[-1], max(values), slope)]
        lines.append(f"| {name} | {' | '.join(cells)} | {verdict} |")
    grown = samples[f"{DATABASE} MB"]
    per_tick_kb = 1000 * (grown[-1] - grown[0]) / max(1, found["ticks"])
    lines += ["", f"Prefect's database: {per_tick_kb:.0f} kB per tick until its vacuum."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
