"""How long until the loop has looked: by hand, by event, by schedule, on the real services.

`python -m benchmarks.timings.tick_latency`: makes a small workspace, publishes a query of 8,
answers 3, and times five times from `prefect deployment run ssl-loop` to "waiting 3/8"; then
answers the rest and times the event alone, and the schedule alone. Writes tick_latency.{json,md}.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.support import RESULTS, machine, wait_until
from flows.annotators.simulated import SimulatedAnnotator
from flows.domains.add import add_domain
from flows.loop import open_loop
from flows.processes.command import end
from flows.services import prefect_server, stack
from flows.services.daemon import log_of, read_daemons
from flows.views.status import status
from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace
from pipeline.data.synthetic.domains import CLASSES, make_domain
from pipeline.files import write_json, write_text

QUERY_SIZE, ANSWERED, TRIGGERS = 8, 3, 5
NEVER_S, SCHEDULE_S = 86_400, 10
SETTINGS = {
    "image": {"height_px": 64, "width_px": 96},
    "train": {"steps": 4},
    "acquire": {"query_size": QUERY_SIZE},
    "loop": {"budget": 3 * QUERY_SIZE},
}


def main() -> None:
    """Measure, stop the services, write the results."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ssl-loop-latency-"))
    root, truth = folder / "scene", folder / "truth"
    make_domain("day", truth, num_labelled=4, num_pool=40, num_val=4, height_px=64, width_px=96)
    create_workspace(root, class_names=CLASSES, overrides=SETTINGS)
    add_domain(
        root, "day", images=truth / "images", masks=truth / "masks", splits=truth / "splits.csv"
    )
    try:
        found = measure(root, truth)
    finally:
        for _ in stack.down(root):
            pass
    shutil.rmtree(folder)
    write_json(RESULTS / "tick_latency.json", found)
    write_text(RESULTS / "tick_latency.md", _markdown(found))


def measure(root: Path, truth: Path) -> dict[str, list[float] | float]:
    """Seconds: five triggers by hand, one event, one schedule."""
    for line in stack.up(root, schedule_s=NEVER_S):
        print(line)
    _trigger(root)
    wait_until(lambda: "day/r0" in _tags(root) and _open_tasks(root) == QUERY_SIZE)
    with open_loop(root) as loop:
        project_id = loop.project("day").project_id
        person = SimulatedAnnotator(*stack.annotation_tool(root, loop.read_params()), truth)
    person.answer(project_id, limit=ANSWERED)
    time.sleep(30)  # the ticks that these answers woke are over
    by_hand = [_time_trigger(root) for _ in range(TRIGGERS)]
    by_event = _answer_and_time(root, person, project_id, "day/r0-labels")
    wait_until(lambda: "day/r1" in _tags(root) and _open_tasks(root) == QUERY_SIZE)
    end([psutil.Process(read_daemons(root)[stack.HOOK].pid)])
    prefect_server.deploy(root, _server(root), schedule_s=SCHEDULE_S, watched=False)
    by_schedule = _answer_and_time(root, person, project_id, "day/r1-labels")
    return {"by_hand": by_hand, "by_event": by_event, f"by_schedule_{SCHEDULE_S}_s": by_schedule}


def _trigger(root: Path) -> None:
    program = str(Path(sys.executable).with_name("prefect"))
    argv = [program, "deployment", "run", "ssl-loop"]
    subprocess.run(argv, cwd=root, check=True, stdout=subprocess.DEVNULL)


def _time_trigger(root: Path) -> float:
    """From the command's start to the flow run's completion, whose message says "waiting 3/8"."""
    before = _completed(root)
    started = time.monotonic()
    _trigger(root)
    wait_until(lambda: len(_completed(root)) > len(before))
    taken = time.monotonic() - started
    print(f"by hand: {taken:.1f} s")
    log = log_of(root, stack.WORKER).read_text()
    if f"waiting {ANSWERED}/{QUERY_SIZE}" not in log:
        raise SystemExit("the tick did not say what was expected")
    return round(taken, 2)


def _answer_and_time(root: Path, person: SimulatedAnnotator, project_id: int, tag: str) -> float:
    """From the last answer to the tag of the merge: the tick has found them and acted."""
    person.answer(project_id)
    started = time.monotonic()
    wait_until(lambda: tag in _tags(root))
    taken = time.monotonic() - started
    print(f"{tag}: {taken:.1f} s")
    return round(taken, 2)


def _completed(root: Path) -> list[str]:
    body = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}, "limit": 200}
    found = prefect_server.request("POST", _server(root), "/flow_runs/filter", body)
    return [run["id"] for run in found]


def _server(root: Path) -> prefect_server.Api:
    server = prefect_server.api(root)
    if server is None:
        raise SystemExit("no prefect.toml: `up` did not write it")
    return server


def _open_tasks(root: Path) -> int:
    with open_loop(root) as loop:
        now = status(loop)
    return now.published - now.answered


def _tags(root: Path) -> list[str]:
    return Workspace(root).tags_merged()


def _markdown(found: dict[str, list[float] | float]) -> str:
    by_hand = found["by_hand"]
    assert isinstance(by_hand, list)
    rows = [
        ('by hand, to "waiting 3/8": median of 5', statistics.median(by_hand), "15"),
        ("by hand: worst of 5", max(by_hand), "25"),
        ("event alone, last answer to merged", found["by_event"], "20"),
        (
            f"schedule of {SCHEDULE_S} s alone, last answer to merged",
            found[f"by_schedule_{SCHEDULE_S}_s"],
            "-",
        ),
    ]
    lines = [
        "# From trigger to tick",
        "",
        f"`python -m benchmarks.timings.tick_latency`: {machine()}.",
        "",
        "| | seconds | bar |",
        "|---|---:|---:|",
        *(f"| {name} | {value:.1f} | {bar} |" for name, value, bar in rows),
        "",
        f"Each trigger by hand: {', '.join(f'{value:.1f}' for value in by_hand)}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
