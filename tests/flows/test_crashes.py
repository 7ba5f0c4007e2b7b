"""Kill -9 at every seam of a tick: the next one carries on, nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from db import repository
from db.session import open_ledger, session_scope
from flows.loop import Loop
from flows.tick import tick
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.records.manifest import read_manifest
from pipeline.stages import STAGES
from tests.flows.conftest import CLASSES, make_toy_workspace, stage_domain, truth
from tests.flows.crash_driver import POINTS, killed_at
from tests.support.fake_annotator import FakeAnnotator

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
AFTER_ANSWERS = list(POINTS)[list(POINTS).index("during collect") :]
# Where work is half done in two places; a kill at the next seam could hide what was left.
FRAGILE = (
    "take-in, between commit and tag",
    "between repro and commit",
    "during publish",
    "during collect",
    "between dvc add and the merge's commit",
    "between the merge's tag and the ledger",
)


def open_loop(root: Path, tool: Path) -> Loop:
    people = FakeAnnotator(tool, CLASSES)
    return Loop(
        workspace=Workspace(root),
        ledger=open_ledger(root / layout.LEDGER),
        log=lambda line: None,
        annotator_factory=lambda *_: people,
    )


def answer_all(tool: Path) -> None:
    people = FakeAnnotator(tool, CLASSES)
    for item_id in people.open_items():
        people.answer(item_id, truth(sum(item_id.encode())))


def run_tick(root: Path, tool: Path) -> str:
    loop = open_loop(root, tool)
    try:
        return tick(loop)
    finally:
        loop.ledger.close()


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a domain that waits; budget for one query."""
    base = tmp_path_factory.mktemp("arrived")
    workspace = make_toy_workspace(base / "workspace")
    workspace.write_params({"loop": {"budget": 3}})
    workspace.commit([layout.PARAMS], "A small budget")
    stage_domain(base / "workspace", "day", labelled=2, pool=6, val=1)
    return base


@pytest.fixture(scope="module")
def asked(arrived: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Round 0 published, and every item answered."""
    base = copy_of(arrived, tmp_path_factory.mktemp("asked"))
    assert run_tick(base / "workspace", base / "tool.json").startswith("waiting")
    answer_all(base / "tool.json")
    return base


@pytest.fixture(scope="module")
def undisturbed(asked: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    base = copy_of(asked, tmp_path_factory.mktemp("undisturbed"))
    assert run_tick(base / "workspace", base / "tool.json").startswith("finished")
    return outcome(base)


def copy_of(base: Path, target: Path) -> Path:
    shutil.copytree(base, target, dirs_exist_ok=True, symlinks=True)
    return target


def outcome(base: Path) -> dict[str, Any]:
    """Everything that must not depend on where a tick was killed."""
    root = base / "workspace"
    loop = open_loop(root, base / "tool.json")
    with session_scope(loop.ledger, read_only=True) as session:
        facts = repository.facts(session)
        events = repository.events(session, kind="stage_completed")
    loop.ledger.close()
    runs = Counter((root / ".ssl-loop/runs.log").read_text().splitlines())
    return {
        "tags": sorted(loop.workspace.tags_merged()),
        "manifest": read_manifest(root / layout.MANIFEST),
        "status": loop.workspace.git.run("status", "--porcelain"),
        "dvc": loop.workspace.dvc_status(),
        "tasks": sorted(
            task["data"]["item_id"] for task in FakeAnnotator(base / "tool.json").all_tasks()
        ),
        "facts": facts,
        "completed": Counter((e.domain, e.round_index, e.subject) for e in events),
        "trainings": (runs["end train_baseline"], runs["end train_teacher"]),
    }


def carried_on(base: Path, undisturbed: dict[str, Any]) -> None:
    """The next ticks end the campaign as if nothing had been."""
    root, tool = base / "workspace", base / "tool.json"
    said = run_tick(root, tool)
    if said.startswith("waiting"):
        answer_all(tool)
        said = run_tick(root, tool)
    assert said.startswith("finished")
    found = outcome(base)
    assert found == undisturbed
    stages = {("day", k, stage): 1 for k in (0, 1) for stage in STAGES}
    assert found["completed"] == stages


def test_a_campaign_killed_at_every_seam_in_turn_ends_as_the_undisturbed_one(
    arrived: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    base = copy_of(arrived, tmp_path)
    for point in POINTS:
        if point == AFTER_ANSWERS[0]:
            assert run_tick(base / "workspace", base / "tool.json").startswith("waiting")
            answer_all(base / "tool.json")
        assert killed_at(point, base / "workspace", base / "tool.json"), point
    carried_on(base, undisturbed)


@pytest.mark.parametrize("point", FRAGILE)
def test_killed_once_the_next_tick_carries_on(
    point: str, arrived: Path, asked: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    base = copy_of(asked if point in AFTER_ANSWERS else arrived, tmp_path)
    assert killed_at(point, base / "workspace", base / "tool.json")
    carried_on(base, undisturbed)


def test_killed_during_training_the_stage_dies_and_is_run_again(
    arrived: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    base = copy_of(arrived, tmp_path)
    root, tool = base / "workspace", base / "tool.json"
    driver = str(Path(__file__).with_name("crash_driver.py"))
    process = subprocess.Popen(
        [sys.executable, driver, str(root), str(tool), "nowhere"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOY_SLEEP_TRAIN_TEACHER": "600"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = root / ".ssl-loop/runs.log"
    deadline = time.monotonic() + 240
    while "start train_teacher" not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)  # the worker alone: its stage must not go on without it
    process.wait()
    assert run_tick(root, tool).startswith("waiting")
    answer_all(tool)
    carried_on(base, undisturbed)
    assert log.read_text().splitlines().count("start train_teacher") == 3


def test_masks_of_a_killed_merge_go_with_the_answers_that_were_taken_back(
    asked: Path, tmp_path: Path
) -> None:
    base = copy_of(asked, tmp_path)
    root, tool = base / "workspace", base / "tool.json"
    masks = root / layout.masks_dir("day")
    given = sorted(masks.iterdir())
    assert killed_at("between dvc add and the merge's commit", root, tool)
    assert len(list(masks.iterdir())) == len(given) + 3
    people = FakeAnnotator(tool, CLASSES)
    for annotation_id in people.annotation_ids():
        people.delete_annotation(annotation_id)
    for item_id in people.open_items():
        people.skip(item_id)
    assert run_tick(root, tool).startswith("finished")
    assert sorted(masks.iterdir()) == given
