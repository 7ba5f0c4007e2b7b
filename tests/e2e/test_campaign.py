"""A campaign from a folder without any mask, on real services, with a real browser.

The tests are one story, in order: cold start, the event alone, a correction in the browser, the
schedule alone, a killed worker, and what git and DVC say afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from db import repository
from db.session import session_scope
from flows.annotators import brush_rle
from flows.loop import open_loop
from flows.processes.command import end, wait_until
from flows.services import prefect_server, stack
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.synthetic.domains import CLASSES
from pipeline.records.query import parse_query
from pipeline.stages import STAGES
from tests.e2e.conftest import HEIGHT_PX, NUM_IMAGES, QUERY_SIZE, WIDTH_PX, Live, mask_of
from tests.support.browser import logged_in, open_next_task, select_region, submit
from tests.support.label_studio_server import PERSON
from tests.support.processes import kill_family
from tests.support.secret_search import leaks

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
BIN = Path(sys.executable).parent
STROKE_ROW = 8
NEVER_S = 86_400  # a schedule that does not matter


def ssl_loop(live: Live, *arguments: str) -> str:
    done = subprocess.run(
        [str(BIN / "ssl-loop"), *arguments], cwd=live.root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def simulate(live: Live, *rates: str) -> None:
    ssl_loop(
        live, "simulate-annotator", "--truth", str(live.truth), *(f"--rate={r}" for r in rates)
    )


def is_published(live: Live, round_index: int) -> bool:
    now = live.status()
    return now.round_index == round_index and 0 < now.asked == now.published


def test_a_folder_without_masks_starts_cold_by_the_literal_command(live: Live) -> None:
    live.up(NEVER_S)
    said = ssl_loop(live, "domain", "add", "day", "--images", str(live.truth / "images"))
    assert str(NUM_IMAGES) in said
    subprocess.run(
        [str(BIN / "prefect"), "deployment", "run", "ssl-loop"], cwd=live.root, check=True
    )
    live.wait("the first query", lambda: is_published(live, 0))
    now = live.status()
    assert (now.published, now.answered, now.labelled) == (QUERY_SIZE, 0, 0)
    assert now.miou == {"baseline": {"day": None}, "teacher": {"day": None}}


def test_the_event_alone_carries_an_answered_round_on(live: Live) -> None:
    simulate(live, "skip=0", "undecodable=0")
    live.wait("the next query, by event", lambda: is_published(live, 1))
    assert "day/r0-labels" in live.tags()
    (val,) = [s for s in Workspace(live.root).manifest() if s.split == "val"]
    assert val.origin == "annotated"  # the random pick judges, the others teach
    assert live.status().labelled == QUERY_SIZE - 1


def test_status_is_what_tags_ledger_and_label_studio_say(live: Live) -> None:
    found = json.loads(ssl_loop(live, "status", "--json"))

    def git(*arguments: str) -> str:
        return subprocess.check_output(["git", *arguments], cwd=live.root, text=True)

    tags = git("tag", "--merged", "HEAD").split()
    rounds = [tag for tag in tags if tag.startswith("day/r") and not tag.endswith("-labels")]
    newest = max(rounds, key=lambda tag: int(tag.removeprefix("day/r")))
    assert found["round_index"] == sum(tag.endswith("-labels") for tag in tags)
    assert found["model_revision"] == git("rev-parse", f"{newest}^{{commit}}").strip()
    with open_loop(live.root) as loop:
        project = loop.project("day")
    http = live.annotator().http  # behind the adapter's back
    tasks = http.get("/api/tasks", project=project.project_id, fields="all")["tasks"]
    of_round = [t for t in tasks if t["data"]["item_id"].endswith("/r1")]
    assert found["published"] == len(of_round)
    assert found["answered"] == sum(t["total_annotations"] for t in of_round)
    merged = git("show", "day/r0-labels:data/manifest.csv").count(",annotated,")
    assert found["merged"] == merged


def test_the_secrets_of_all_services_stay_where_they_are(live: Live) -> None:
    ssl_loop(live, "report")
    assert leaks(live.root) == []
    with open_loop(live.root) as loop:
        _, token = stack.annotation_tool(live.root, loop.read_params())
        project = loop.project("day")
    assert token == PERSON.token
    hooks = live.annotator().http.get("/api/webhooks/", project=project.project_id)
    assert len(hooks) == 1  # who may see a project's settings sees its hook's secret: the owner
    private = [path for path in (live.root / layout.PRIVATE).rglob("*") if path.is_file()]
    assert {path for path in private if path.name == "label_studio.sqlite3"}
    assert (live.root / layout.PRIVATE).stat().st_mode & 0o077 == 0


@pytest.mark.browser
def test_a_correction_painted_in_the_browser_is_what_is_merged(live: Live) -> None:
    rows = parse_query(Workspace(live.root).show("day/r1", layout.QUERY).decode())
    first = max(rows, key=lambda row: row.score).sample_id
    before = mask_of(live.root / layout.sample_png(layout.PSEUDO_LABELS, first))
    paint_next_task(live, class_index=int(before[-4, before.shape[1] // 2]))
    with open_loop(live.root) as loop:
        project, tool = loop.project("day"), live.annotator()
        (task,) = [
            task
            for task in tool.tasks(project)
            if task.item_id == f"{first}/r1"  # the most uncertain one was handed out first
        ]
        (pulled,) = tool.pull(project, [task.task_id]).annotations
    painted = np.zeros(before.shape, dtype=bool)
    for region in pulled.result:
        if region["origin"] != "prediction":
            alpha = brush_rle.decode(region["value"]["rle"], *before.shape)
            painted |= alpha > 127
            class_name = region["value"]["labels"][0]
    expected = np.where(painted, CLASSES.index(class_name), before)
    # All along the stroke there is the class; the weak model may have had it in places.
    assert (expected[STROKE_ROW, 14:-14] == CLASSES.index(class_name)).all()
    assert (expected != before).any()

    # The schedule alone brings it in: nobody hears Label Studio's hook.
    running = stack.read_daemons(live.root)
    end([psutil.Process(running[stack.HOOK].pid)])
    simulate(live, "skip=0", "undecodable=0")
    server = prefect_server.api(live.root)
    assert server is not None
    prefect_server.deploy(live.root, server, schedule_s=10, watched=False)
    live.wait("the merge, by schedule", lambda: "day/r1-labels" in live.tags())
    merged = mask_of(live.root / layout.sample_png(layout.masks_dir("day"), Path(first).name))
    np.testing.assert_array_equal(merged, expected)


def paint_next_task(live: Live, *, class_index: int) -> None:
    """Log in, open what is handed out first, paint one stroke of the class across the top."""
    with open_loop(live.root) as loop:
        project = loop.project("day")
    url = stack.read_daemons(live.root)[stack.LABEL_STUDIO].url
    with logged_in(url, live.email, live.password) as page:
        canvas = open_next_task(page, project.url, (HEIGHT_PX, WIDTH_PX))
        select_region(page, CLASSES[class_index])
        canvas.stroke(row=STROKE_ROW, columns=(10, WIDTH_PX - 10))
        submit(page)


def test_a_worker_killed_with_its_training_is_carried_on_by_the_next(live: Live) -> None:
    live.wait("training of round 2", lambda: training_pids(live))
    worker = stack.read_daemons(live.root)[stack.WORKER]
    kill_family(worker.pid)
    assert wait_until(lambda: not training_pids(live), timeout_s=1)
    live.up(10)
    live.wait("the end", lambda: live.status().finished)
    with open_loop(live.root) as loop, session_scope(loop.ledger, read_only=True) as session:
        events = repository.events(session, kind="stage_completed")
    completed = Counter((event.round_index, event.subject) for event in events)
    assert completed == {(k, stage): 1 for k in range(3) for stage in STAGES}


def training_pids(live: Live) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = " ".join(process.info["cmdline"] or [])
        if "pipeline train_" in line and process.info["cwd"] == str(live.root.resolve()):
            found.append(process.pid)
    return found


def test_git_and_dvc_hold_every_round(live: Live) -> None:
    def run(*argv: str) -> str:
        env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
        return subprocess.check_output(argv, cwd=live.root, text=True, env=env)

    live_down(live)
    assert "up to date" in run("dvc", "repro") or "didn't change" in run("dvc", "repro")
    assert "teacher" in run("dvc", "metrics", "diff", "day/r1", "day/r2")
    masks = sorted(p.name for p in (live.root / "data/day/masks").glob("*.png"))
    run("git", "checkout", "--quiet", "day/r1")
    run("dvc", "checkout")
    assert len(list((live.root / "data/day/masks").glob("*.png"))) == QUERY_SIZE
    run("git", "checkout", "--quiet", "main")
    run("dvc", "checkout")
    assert sorted(p.name for p in (live.root / "data/day/masks").glob("*.png")) == masks


def live_down(live: Live) -> None:
    for _ in stack.down(live.root):
        pass
