"""Hangs are told by the processor's time, so that a busy machine makes none."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import judge
from tests.fuzz.judge import HangError
from tests.fuzz.reader import Reader


def read_by(what: Callable[[], object]) -> Reader:
    return Reader(name="a reader", valid=lambda: [b""], read=lambda path: what())


def endless() -> None:
    while True:
        pass


def test_a_reader_that_computes_without_end_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "LIMIT_S", 0.1)
    with pytest.raises(HangError):
        judge.judge(read_by(endless), tmp_path, b"")


def test_a_reader_that_waits_without_end_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "WAITING_LIMIT_S", 0.1)
    with pytest.raises(HangError):
        judge.judge(read_by(lambda: time.sleep(60)), tmp_path, b"")


def test_a_machine_that_is_busy_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "LIMIT_S", 0.1)
    assert judge.judge(read_by(lambda: time.sleep(0.3)), tmp_path, b"")
