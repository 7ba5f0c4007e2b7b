"""From the last answer of a round to the next query, open: how long people wait for the loop.

`python -m benchmarks.defaults.next_query --data DIR`: CamVid by day on the real services, nothing
set but a profile and the encoder's file; somebody answers every query at once. By step of the loop,
as its ledger has them. Writes next_query.{json,md}.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.camvid.day_and_dusk import DOMAINS, ENCODER, CamVid, evenly, locate
from benchmarks.support import RESULTS, machine, table, wait_until
from db.repository import events
from db.session import session_scope
from flows.annotators.simulated import SimulatedAnnotator
from flows.demo.campaign import DemoCampaign
from flows.domains.add import add_domain
from flows.loop import open_loop
from flows.services import stack
from flows.views.status import status
from flows.workspace.create import create_workspace
from flows.workspace.position import round_tag
from pipeline.files import write_json, write_text
from pipeline.models.weights import add_weights
from pipeline.runtime.weights_folder import VARIABLE

DAY = DOMAINS[0]
QUERY_SIZE, SCHEDULE_S = 8, 30
LIMIT_S = 1800.0
TARGET_S = 60


def main() -> None:
    """Measure, stop the services, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--profile", default="quick")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ssl-loop-next-query-"))
    os.environ[VARIABLE] = str(folder / "weights")
    root = folder / "scene"
    camvid = locate(args.data)
    prepare(root, camvid, args.images, args.profile)
    try:
        waits = measure(root, camvid, args.rounds)
        found = {"images": args.images, "profile": args.profile, "waits": waits}
        found["steps"] = steps_of(root)
    finally:
        for _ in stack.down(root):
            pass
    shutil.rmtree(folder)
    write_json(RESULTS / "next_query.json", found)
    write_text(RESULTS / "next_query.md", report(found))


def prepare(root: Path, camvid: CamVid, num_images: int, profile: str) -> None:
    """A workspace of so many images, evenly taken, with what a newcomer sets."""
    add_weights(
        camvid.weights, ENCODER, normalisation="symmetric", encoder_options={"pad_type": "same"}
    )
    rows = {id_: split for id_, split in camvid.rows(DAY).items() if split != "test"}
    chosen = set(evenly(sorted(rows), min(num_images, len(rows))))
    knobs = {"profile": profile, "acquire": {"query_size": QUERY_SIZE}}
    create_workspace(root, class_names=camvid.classes, overrides=knobs, planned=True)
    source = root.parent / "source"
    camvid.lay_out(DAY, source, {id_: split for id_, split in rows.items() if id_ in chosen})
    add_domain(
        root, DAY, images=source / "images", masks=camvid.masks, splits=source / "splits.csv"
    )


def measure(root: Path, camvid: CamVid, rounds: int) -> list[float]:
    """Seconds from the last answer of each round to the next round's open tasks."""
    run = DemoCampaign(root, camvid.masks, Console())
    run.up(SCHEDULE_S)
    run.trigger()
    waits = []
    for number in range(rounds + 1):
        started = time.monotonic()
        wait_until(partial(_is_open, root, number), LIMIT_S, every_s=0.5)
        taken = time.monotonic() - started
        print(f"round {number} is open after {taken:.0f} s", flush=True)
        if number:
            waits.append(round(taken, 1))
        if number < rounds:
            with open_loop(root) as loop:
                project_id = loop.project(DAY).project_id
                tool = stack.annotation_tool(root, loop.read_params())
            SimulatedAnnotator(*tool, camvid.masks).answer(project_id)
    return waits


def steps_of(root: Path) -> list[dict[str, Any]]:
    """What the ledger says was done, each with the seconds since what was done before."""
    with open_loop(root) as loop, session_scope(loop.ledger, read_only=True) as session:
        done: list[tuple[datetime, str]] = [
            (each.at, " ".join(filter(None, (each.kind, each.subject)))) for each in events(session)
        ]
    return [
        {"done": name, "seconds": round((at - before).total_seconds(), 1)}
        for (before, _), (at, name) in pairwise(done)
    ]


def _is_open(root: Path, number: int) -> bool:
    with open_loop(root) as loop:
        now = status(loop)
        tags = loop.workspace.tags_merged()
    return round_tag(DAY, number) in tags and now.published - now.answered == QUERY_SIZE


def report(found: dict[str, Any]) -> str:
    """The waits, and the steps of the last round."""
    waits = ", ".join(f"{wait:.0f} s" for wait in found["waits"])
    names = [step["done"] for step in found["steps"]]
    last = max(place for place, name in enumerate(names) if "merge" in name)
    lines = [
        "# From the last answer to the next query",
        "",
        f"`python -m benchmarks.defaults.next_query`: {found['images']} images of CamVid by day, "
        f"profile {found['profile']}, queries of {QUERY_SIZE}, real services, {machine()}. Waits: "
        f"{waits}; wanted: under {TARGET_S} s with a probe.",
        "",
        "The last round, by what the ledger says was done, with the seconds since what was done "
        "before:",
        "",
        *table(found["steps"][max(0, last - 2) :]),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
