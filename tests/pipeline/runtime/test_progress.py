"""What a person or a log sees of a long action."""

from __future__ import annotations

import io

import pytest

from pipeline.runtime import progress
from pipeline.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_with_rate_time_left_and_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    asked = 0

    def note() -> str:
        nonlocal asked
        asked += 1
        return "loss 0.500"

    with Progress("train", 30, done=10, stream=stream) as shown:
        for _ in range(20):
            now += 1.0
            shown.advance(note=note)
    assert stream.getvalue().splitlines() == [
        "train: 15/30, 1.0/s, 15 s left, loss 0.500",
        "train: 20/30, 1.0/s, 10 s left, loss 0.500",
        "train: 25/30, 1.0/s, 5 s left, loss 0.500",
        "train: 30/30, 1.0/s, 0 s left, loss 0.500",
    ]
    assert asked == 4  # a note may cost a wait for the device


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with Progress("train", 4, done=1, stream=stream) as shown:
        for _ in range(3):
            shown.advance(note=lambda: "loss 0.500")
    assert "\r" in stream.getvalue()
    assert "train: 100%" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert "loss 0.500" in stream.getvalue()


def test_slow_things_are_told_in_seconds_each_and_long_ones_in_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with Progress("rounds", 9, stream=stream) as shown:
        for _ in range(2):
            now += 90.0
            shown.advance()
    assert stream.getvalue().splitlines() == [
        "rounds: 1/9, 90 s each, 12 min left",
        "rounds: 2/9, 90 s each, 10 min left",
    ]
