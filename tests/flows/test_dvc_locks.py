"""Entries of DVC's rwlock that a crash left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.dvc_locks import RWLOCK, release_dead_holders


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that ended and was not reaped."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    yield child.pid
    child.wait()


def test_the_dead_hold_nothing_and_the_living_all(tmp_path: Path, zombie: int) -> None:
    alive, dead = ({"pid": pid, "cmd": "dvc repro"} for pid in (os.getpid(), zombie))
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"write": {"a": dead, "b": alive}, "read": {"c": [dead, alive], "d": [dead]}})
    )
    release_dead_holders(tmp_path)
    assert json.loads(path.read_text()) == {"write": {"b": alive}, "read": {"c": [alive]}}


@pytest.mark.parametrize("text", [None, "", "{", '{"read": {}, "write": {}}'])
def test_nothing_to_release(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / RWLOCK
    path.parent.mkdir(parents=True)
    if text is not None:
        path.write_text(text)
    release_dead_holders(tmp_path)
    assert (path.read_text() if path.exists() else None) == text
