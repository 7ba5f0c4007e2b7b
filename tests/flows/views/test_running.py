"""What people are told while something runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import run_page
from flows.loop import Loop
from flows.views.status import describe, status
from flows.workspace.holder import LockHolder

Open = Callable[[Path], Loop]


def test_status_says_which_stage_runs_and_since_when(asked: Path, open_toy: Open) -> None:
    loop = open_toy(asked)
    now = replace(status(loop), computed=False)
    assert now.running is None
    assert "round 0: to be computed by the next tick\n" in describe(now, [])
    assert "running:" not in describe(now, [])
    begun = datetime.now(UTC) - timedelta(minutes=24, seconds=5)
    since, later = begun.isoformat(), (begun + timedelta(minutes=20)).isoformat()
    holder = LockHolder(pid=7, since=since, stage="train_teacher", stage_since=later)
    said = describe(replace(now, running=holder), [])
    assert "round 0: being computed now\n" in said
    assert f"running: process 7 works here since {begun:%H:%M} UTC (24 min); stage train_" in said
    assert "UTC (4 min)" in said
    with loop.workspace.lock():  # something else than a stage of a round
        said = describe(replace(now, running=loop.workspace.holder()), [])
    assert "round 0: to be computed by the next tick\n" in said
    assert "works here since" in said


def test_a_run_is_named_by_the_round_that_it_finds(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root, name in ((asked, "day/r0"), (tmp_path / "none", "tick")):
        run = SimpleNamespace(parameters={"workspace": str(root)})
        monkeypatch.setattr(run_page, "flow_run", run)
        assert run_page.run_name() == name
