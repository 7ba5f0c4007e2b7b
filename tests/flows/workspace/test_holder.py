"""Who works in a workspace, as others see it without taking its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.workspace.holder import find_holder, noted
from pipeline.files import write_json


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "stage.json"


def note(lock: Path, pid: int, since: datetime) -> None:
    lock.write_text(f"{pid} since {since:%Y-%m-%d %H:%M:%S} UTC\n")


def test_the_holder_is_known_as_long_as_it_holds(lock: Path, record: Path) -> None:
    assert find_holder(lock, record) is None
    with noted(lock):
        found = find_holder(lock, record)
        assert found
        assert (found.pid, found.stage) == (os.getpid(), None)
        assert datetime.now(UTC) - datetime.fromisoformat(found.since) < timedelta(minutes=1)
        write_json(record, {"token": "t", "command": ["dvc", "repro", "train_teacher"]})
        found = find_holder(lock, record)
        assert found
        assert found.stage == "train_teacher"
        assert found.stage_since
    assert find_holder(lock, record) is None  # though the process lives on


@pytest.mark.programs
def test_whoever_was_killed_holds_nothing(lock: Path, record: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    note(lock, gone.pid, datetime.now(UTC))
    assert find_holder(lock, record) is None
    # Its number was given to another, which began later.
    note(lock, os.getpid(), datetime(2020, 1, 1, tzinfo=UTC))
    assert find_holder(lock, record) is None


@pytest.mark.parametrize("text", ["", "12", "x since y UTC\n", "7 since 2026-99-01 10:00:00 UTC\n"])
def test_a_note_that_says_nothing_is_none(lock: Path, record: Path, text: str) -> None:
    lock.write_text(text)
    assert find_holder(lock, record) is None


def test_half_a_record_names_no_stage(lock: Path, record: Path) -> None:
    record.write_text('{"token": "t", "comm')
    with noted(lock):
        found = find_holder(lock, record)
    assert found
    assert found.stage is None
