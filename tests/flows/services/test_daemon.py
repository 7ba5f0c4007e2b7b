"""Programs that outlive their starter: recognised by their mark, never by a number alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.services import stack
from flows.services.daemon import (
    HOST,
    MARK,
    DaemonPlace,
    await_answer,
    free_port,
    launch,
    log_of,
    taken,
)
from pipeline.errors import ServiceError
from pipeline.files import write_json


def test_taken_port_is_left_alone() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert taken(port)
        assert free_port(port) != port
        assert free_port(port, last=port) != port
    assert free_port(port) == port


@pytest.mark.programs
def test_stale_record_never_leads_to_a_stranger(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "300"])
    try:
        row = {"name": "worker", "pid": stranger.pid, "started_at": 0.0, "port": None}
        write_json(tmp_path / ".ssl-loop/services.json", {"worker": row | {"workspace": "/w"}})
        assert [(found.pid, found.alive) for found in stack.status(tmp_path)] == [
            (stranger.pid, False)
        ]
        assert list(stack.down(tmp_path)) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.programs
def test_down_ends_orphans_of_a_dead_worker_too(tmp_path: Path) -> None:
    env = os.environ | {MARK: str(tmp_path)}
    orphan = subprocess.Popen(["sleep", "300"], env=env, start_new_session=True)
    list(stack.down(tmp_path))
    assert orphan.poll() is not None


def test_unreadable_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".ssl-loop/services.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ServiceError, match=r"services\.json"):
        stack.status(tmp_path)


@pytest.mark.programs
def test_service_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('the cause')"]
    daemon = launch(DaemonPlace(tmp_path, "webhook", 1), argv, env=dict(os.environ))
    with pytest.raises(ServiceError, match=r"(?s)webhook ended while starting.*the cause"):
        await_answer(
            daemon, "/", log=log_of(tmp_path, "webhook"), timeout_s=30, on_wait=lambda: None
        )
