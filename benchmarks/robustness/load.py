"""Load: many annotators answer one big query on the real services while ticks run.

`python -m benchmarks.robustness.load [--masks 1000] [--people 16] [--ledger
sqlite|postgresql|both]`. Stages are the tests' toys, so that all time goes to services and ledger.
Writes load.{json,md}.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from benchmarks.robustness.toy_site import start, tool_of, toy_site
from benchmarks.support import RESULTS, machine, percentile_ms, read_json
from flows.loop import open_loop
from flows.services import stack
from flows.services.daemon import read_daemons
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.files import sha256_file, write_json, write_text
from pipeline.records.manifest import read_manifest
from tests.faults.checker import read_mask
from tests.faults.crowd import Crowd, Meter
from tests.faults.people import Mask
from tests.faults.place import DOMAIN
from tests.support.ledgers import postgres_cluster

SCHEDULE_S = 10
LIMIT_S = 1800.0
P99_MS = 100.0


def main() -> None:
    """Measure, stop the services, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--ledger", choices=["sqlite", "postgresql", "both"], default="both")
    args = parser.parse_args()
    backends = ["sqlite", "postgresql"] if args.ledger == "both" else [args.ledger]
    file = RESULTS / "load.json"
    found = read_json(file) if file.exists() else {}
    for backend in backends:
        with tempfile.TemporaryDirectory(prefix="ssl-loop-load-") as folder:
            found[backend] = measure(Path(folder), backend, args.masks, args.people)
        write_json(file, found)
        write_text(RESULTS / "load.md", markdown(found))
    print(markdown(found))


def measure(folder: Path, backend: str, masks: int, people: int) -> dict[str, Any]:
    """One query of `masks` images answered by `people`; what is in the ledger and in the data."""
    url = postgres_cluster().database() if backend == "postgresql" else ""
    if url:
        os.environ[stack.LEDGER_VARIABLE] = url
    try:
        with toy_site(folder, images=masks, query_size=masks, seed=7) as root:
            return _measure(root, masks, people)
    finally:
        os.environ.pop(stack.LEDGER_VARIABLE, None)


def _measure(root: Path, masks: int, people: int) -> dict[str, Any]:
    start(root, schedule_s=SCHEDULE_S)
    tool = tool_of(root)
    started = time.monotonic()
    tasks = wait_for(lambda: published(tool, masks))
    sent_s = time.monotonic() - started
    print(f"{len(tasks)} tasks sent in {sent_s:.0f} s", flush=True)
    meter = Meter(read_daemons(root)[stack.HOOK].url)
    project = tasks[0]["project"]
    wait_for(lambda: tool.get("/api/webhooks/", params={"project": project}).json())
    meter.lead_here(tool, project)
    crowd = Crowd(tool, people)
    started = time.monotonic()
    crowd.answer(tasks)
    answering_s = time.monotonic() - started
    print(f"answered in {answering_s:.0f} s", flush=True)
    wait_for(lambda: f"{DOMAIN}/r0-labels" in Workspace(root).tags_merged())
    return {
        "masks": masks,
        "people": people,
        "seconds_sending": round(sent_s),
        "seconds_answering": round(answering_s),
        "seconds_until_merged": round(time.monotonic() - started),
        "submit_p50_ms": percentile_ms(crowd.seconds, 50),
        "submit_p99_ms": percentile_ms(crowd.seconds, 99),
        "hooks": len(meter.seconds),
        "hooks_refused": meter.refused,
        "receiver_p50_ms": percentile_ms(meter.seconds, 50),
        "receiver_p99_ms": percentile_ms(meter.seconds, 99),
        **compared(root, crowd.answered),
        "machine": machine(),
        "load_average": round(os.getloadavg()[1], 1),
    }


def compared(root: Path, answered: dict[int, Mask]) -> dict[str, int]:
    """Answers against ledger (plain SQL) and merged masks, pixel for pixel."""
    with open_loop(root) as loop:
        url = stack.ledger_url(loop.root)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT tool_annotation_id, mask_sha256 FROM annotation"))
        recorded = [tuple(row) for row in rows]
    engine.dispose()
    times = Counter(annotation_id for annotation_id, _ in recorded)
    merged = {s.mask_sha256: root / s.mask for s in read_manifest(root / layout.MANIFEST) if s.mask}
    wrong = 0
    for annotation_id, digest in recorded:
        file = merged.get(digest)
        wrong += not (
            file
            and (read_mask(file) == answered[annotation_id]).all()
            and sha256_file(file) == digest
        )
    return {
        "in_the_ledger_once": sum(times[a] == 1 for a in answered),
        "doubled": sum(n > 1 for n in times.values()),
        "not_in_the_ledger": sum(a not in times for a in answered),
        "masks_changed_or_mixed_up": wrong,
    }


def published(tool: httpx.Client, number: int) -> list[dict[str, Any]]:
    """The tasks, once all are there."""
    projects = tool.get("/api/projects/").json().get("results")
    if not projects:
        return []
    query = {"project": projects[0]["id"], "fields": "task_only", "page_size": number}
    tasks: list[dict[str, Any]] = tool.get("/api/tasks", params=query).json().get("tasks", [])
    return tasks if len(tasks) >= number else []


def wait_for(holds: Any) -> Any:
    """What `holds` gives, once it gives something."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing happened for {LIMIT_S:.0f} s")
        time.sleep(1.0)
    return found


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """One column per ledger."""
    names = list(next(iter(found.values())))
    lines = [
        "# Load",
        "",
        "`python -m benchmarks.robustness.load`: annotators answer one big query on the real "
        f"services (Prefect, worker, Label Studio, receiver), ticks every {SCHEDULE_S} s and at "
        f"hooks. The receiver's limit is {P99_MS:.0f} ms at p99.",
        "",
        f"| | {' | '.join(found)} |",
        "|---|" + "---:|" * len(found),
    ]
    for name in names:
        cells = [str(one.get(name, "")) for one in found.values()]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
