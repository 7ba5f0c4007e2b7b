"""The process of click to mask, and when Label Studio is told of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.annotators.annotator import Project
from flows.annotators.assist.ml_backend import USER
from flows.processes.command import wait_until
from flows.services import assist_server, stack
from flows.services.daemon import HOST, answers, free_port
from flows.services.stack import ASSIST, LABEL_STUDIO, assist_command, ensure_assist
from flows.workspace.credentials import credentials
from flows.workspace.identity import new_identity
from pipeline import layout
from tests.support.fake_annotator import FakeAnnotator

PROJECT = Project(project_id=1, url="http://x", title="a project")


class Running:
    """What is noted of a daemon."""

    def __init__(self, port: int, *, alive: bool = True) -> None:
        self.url, self.alive = f"http://{HOST}:{port}", alive


@pytest.mark.parametrize(
    ("daemons", "told"),
    [
        ({ASSIST: Running(8090), LABEL_STUDIO: Running(8080)}, f"http://{HOST}:8090"),
        ({ASSIST: Running(8090, alive=False), LABEL_STUDIO: Running(8080)}, None),
        ({LABEL_STUDIO: Running(8080)}, None),
        ({ASSIST: Running(8090)}, "nothing"),  # a Label Studio elsewhere
        ({ASSIST: Running(8090), LABEL_STUDIO: Running(8080, alive=False)}, "nothing"),
    ],
)
def test_our_own_label_studio_is_told_where_clicks_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemons: dict[str, Any], told: str | None
) -> None:
    monkeypatch.setattr(stack, "read_daemons", lambda root: daemons)
    given: list[tuple[Any, ...]] = []

    class Tool(FakeAnnotator):
        def ensure_assist(self, project: Project, url: str | None, password: str) -> None:
            given.append((project, url, password))

    ensure_assist(tmp_path, Tool(tmp_path / "tool.json", ["a"]), PROJECT)
    secret = credentials(tmp_path).webhook_secret
    assert given == ([] if told == "nothing" else [(PROJECT, told, secret)])


def test_an_engine_is_of_the_teacher_and_the_settings_that_are_there(tmp_path: Path) -> None:
    assert assist_server.made_of(tmp_path) is None
    (tmp_path / layout.PARAMS).write_text("classes: [a]")
    assert assist_server.made_of(tmp_path) is None  # before the first round
    (tmp_path / layout.TEACHER).mkdir(parents=True)
    assert assist_server.made_of(tmp_path) is None  # being written
    (tmp_path / layout.TEACHER / "config.json").write_text("{}")
    first = assist_server.made_of(tmp_path)
    assert first == assist_server.made_of(tmp_path) is not None
    (tmp_path / layout.TEACHER / "model.safetensors").write_text("")
    second = assist_server.made_of(tmp_path)
    assert second != first
    (tmp_path / "beside").write_text("classes: [a, b]")
    (tmp_path / "beside").replace(tmp_path / layout.PARAMS)
    assert assist_server.made_of(tmp_path) not in (first, second)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where the process answers, in a workspace without a round."""
    new_identity(tmp_path)
    credentials(tmp_path)
    port = free_port(8090)
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        assist_command(tmp_path, port), stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert wait_until(lambda: answers(f"http://{HOST}:{port}/health"), 60)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.mark.programs
def test_the_process_answers_before_there_is_a_teacher(tmp_path: Path, url: str) -> None:
    question = {
        "tasks": [{"id": 1, "data": {"item_id": "day/a/r0"}}],
        "params": {"context": {"result": []}},
    }
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.post(f"{url}/predict", json=question).status_code == 401
        own = (USER, credentials(tmp_path).webhook_secret)
        assert client.post(f"{url}/setup", json={}, auth=own).is_success
        refused = client.post(f"{url}/predict", json=question, auth=own)
    assert refused.status_code == 422
    said = (tmp_path / "log").read_text()
    assert "missing" in refused.text or "not one that this workspace sent" in refused.text
    assert credentials(tmp_path).webhook_secret not in said
    assert "Traceback" not in said
