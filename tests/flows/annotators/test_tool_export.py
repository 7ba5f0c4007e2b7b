"""What a backup holds of a Label Studio whose database is not ours to copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.annotators.annotator import Owner
from flows.annotators.label_studio import LabelStudio
from flows.backup.restore_backup import restore_backup
from flows.backup.write_backup import backup
from flows.ledger.domain_projects import remember_project
from flows.loop import Loop
from flows.services import stack
from flows.workspace.identity import require_identity
from tests.flows.annotators.conftest import CLASSES, MakeItems, answer, owner_of, push
from tests.support.label_studio_server import Server

pytestmark = pytest.mark.services


def silent(line: str) -> None:
    """Where nobody listens."""


def test_projects_tasks_and_answers_are_in_the_backup(
    asked: Path,
    open_toy: Callable[[Path], Loop],
    annotator: LabelStudio,
    title: str,
    make_items: MakeItems,
    label_studio: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    loop = open_toy(asked)
    owner = Owner(workspace_id=require_identity(asked).id, domain="day")
    strangers = annotator.create_project(owner_of(title), title, CLASSES)
    project = annotator.create_project(owner, f"{title} of ours", CLASSES)
    first, _ = push(annotator, project, make_items(2))
    answer(annotator, first)
    remember_project(loop.ledger, owner, strangers)
    remember_project(loop.ledger, owner, project)
    tool = (label_studio.url, label_studio.token)
    monkeypatch.setattr(stack, "annotation_tool", lambda root, params: tool)
    made = backup(loop, tmp_path / "scene.tar.gz", with_secrets=True)
    into = tmp_path / "back"
    found = restore_backup(tmp_path / "scene.tar.gz", into, silent)
    name = f".ssl-loop/label-studio-export/{project.project_id}.json"
    assert found.tool == [name]
    assert f"/api/projects/{strangers.project_id}/: gone, or not this workspace's" in made.tool
    kept = json.loads((into / name).read_text())
    assert kept["project"]["id"] == project.project_id
    assert len(kept["tasks"]) == 2
    answers = [one for task in kept["tasks"] for one in task["annotations"]]
    assert [one["task"] for one in answers] == [first.task_id]
    assert answers[0]["result"]


def test_a_tool_that_is_down_is_said_and_stops_no_backup(
    asked: Path, open_toy: Callable[[Path], Loop], tmp_path: Path
) -> None:
    made = backup(open_toy(asked), tmp_path / "scene.tar.gz")
    assert "Label Studio does not run; `ssl-loop up` starts it" in made.tool
    assert restore_backup(tmp_path / "scene.tar.gz", tmp_path / "back", silent).tool == []
