"""Following a loop to its end: slow is not failed, and what stands still is named."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from db.repository import record_event
from db.session import session_scope
from flows.demo import campaign
from flows.demo.campaign import DemoCampaign
from flows.loop import open_loop
from flows.workspace.workspace import Workspace
from pipeline import layout

PATIENCE_S = 20 * 60.0


class Clock:
    """Time that passes only where the loop is waited for, and what happens meanwhile."""

    def __init__(self, step_s: float, happens: Callable[[int], None]) -> None:
        self.now, self.step_s, self.happens = 0.0, step_s, happens
        self.waits = 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        self.now += self.step_s
        self.happens(self.waits)


def follow(root: Path, clock: Clock, patch: pytest.MonkeyPatch) -> tuple[bool, str]:
    patch.setattr(campaign, "time", clock)
    said = io.StringIO()
    run = DemoCampaign(root, root, Console(file=said, width=200))
    return run.follow(PATIENCE_S, until="the/end"), said.getvalue()


def test_slow_is_not_failed(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes 19 minutes, six of them: tags, the ledger, checkpoints of a training."""
    workspace = Workspace(toy)
    checkpoint = toy / layout.CHECKPOINTS / "train_teacher" / "state.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)

    def happens(step: int) -> None:
        if step % 3 == 0:
            workspace.git.run("tag", f"day/t{step}" if step < 6 else "the/end")
        elif step % 3 == 1:
            with open_loop(toy) as loop, session_scope(loop.ledger) as session:
                record_event(session, kind="stage_completed", who="loop", subject=f"stage {step}")
        else:
            checkpoint.touch()
            os.utime(checkpoint, (step, step))

    finished, said = follow(toy, Clock(19 * 60.0, happens), monkeypatch)
    assert finished, said


def test_what_stands_still_is_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_loop(toy) as loop, session_scope(loop.ledger) as session:
        record_event(session, kind="stage_completed", who="loop", domain="day", subject="embed")

    def ticks(step: int) -> None:
        """Every schedule another process looks and finds nothing to do."""
        since = datetime.now(UTC) + timedelta(seconds=step)
        (toy / layout.LOCK).write_text(f"{os.getpid()} since {since:%Y-%m-%d %H:%M:%S} UTC\n")

    clock = Clock(5 * 60.0, ticks)
    finished, said = follow(toy, clock, monkeypatch)
    assert not finished
    assert "no step has moved for 20 minutes" in said
    assert "after stage_completed day embed" in said
    assert PATIENCE_S < clock.now < 2 * PATIENCE_S
