"""Entries of DVC's rwlock that a crash left."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.processes.command import run
from flows.workspace.dvc.dvc_locks import GUARD, RWLOCK, release_dead_holders
from pipeline.errors import WorkspaceError


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that ended and was not reaped."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    yield child.pid
    child.wait()


@pytest.mark.programs
def test_the_dead_hold_nothing_and_the_living_all(tmp_path: Path, zombie: int) -> None:
    alive, dead = ({"pid": pid, "cmd": "dvc repro"} for pid in (os.getpid(), zombie))
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"write": {"a": dead, "b": alive}, "read": {"c": [dead, alive], "d": [dead]}})
    )
    release_dead_holders(tmp_path)
    assert json.loads(path.read_text()) == {"write": {"b": alive}, "read": {"c": [alive]}}


@pytest.mark.parametrize("text", [None, "{}", '{"read": {}, "write": {}}'])
def test_nothing_to_release(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    if text is not None:
        path.write_text(text)
    release_dead_holders(tmp_path)
    assert (path.read_text() if path.exists() else None) == text


DAMAGED = [
    "",
    "{",
    "[]",
    '{"read": {"a": {"pid": 1}}}',
    '{"write": {"a": {"pid": "x", "cmd": ""}}}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_list_that_a_killed_dvc_left_damaged_is_removed(tmp_path: Path, text: str) -> None:
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text(text)
    release_dead_holders(tmp_path)
    assert not path.exists()


def test_while_a_dvc_writes_its_list_nobody_touches_it(tmp_path: Path) -> None:
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text("")
    with (tmp_path / GUARD).open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        release_dead_holders(tmp_path)
        assert path.exists()
    release_dead_holders(tmp_path)
    assert not path.exists()


@pytest.mark.programs
def test_dvc_runs_again_after_its_list_was_emptied(tmp_path: Path) -> None:
    """The real one: `: > .dvc/tmp/rwlock`, as a killed one leaves it."""
    for command in ("git init --quiet", "dvc init --quiet"):
        run(command.split(), cwd=tmp_path)
    (tmp_path / "data").write_text("x")
    (tmp_path / RWLOCK).write_text("")
    with pytest.raises(WorkspaceError, match="corrupted"):
        run(["dvc", "add", "data"], cwd=tmp_path)
    release_dead_holders(tmp_path)
    run(["dvc", "add", "data"], cwd=tmp_path)
