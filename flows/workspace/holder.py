"""Who holds a workspace and which stage it computes, from what it leaves while it does.

The lock itself is not tried for that: a tick that starts at the same moment would be refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from flows.processes.command import group_command

_NOTE = re.compile(r"(\d{1,10}) since (.{19}) UTC\n")
_FORM = "%Y-%m-%d %H:%M:%S"
# A process that began later was given the number of one that is gone; clocks are set, too.
_CLOCK_SLACK = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """The process that works in a workspace now; times are ISO 8601 in UTC."""

    pid: int
    since: str
    stage: str | None
    """The stage of a round that it runs; None between stages and for other work."""
    stage_since: str | None


@contextmanager
def noted(lock: Path) -> Iterator[None]:
    """Say in the lock's file who holds it; of one that was killed the note stays."""
    lock.write_text(f"{os.getpid()} since {datetime.now(UTC):{_FORM}} UTC\n", encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):  # a full disk hides no other error
            lock.write_text("", encoding="utf-8")


def find_holder(lock: Path, stage_record: Path) -> LockHolder | None:
    """Who noted itself in the lock's file and lives; None where nobody does."""
    note = _NOTE.fullmatch(_text(lock))
    if note is None:
        return None
    try:
        pid, since = int(note[1]), datetime.strptime(note[2], _FORM).replace(tzinfo=UTC)
    except ValueError:
        return None
    if not _lived(pid, since):
        return None
    command, begun = group_command(stage_record), None
    if command:
        with suppress(FileNotFoundError):  # it ended this moment
            begun = datetime.fromtimestamp(stage_record.stat().st_mtime, UTC)
    return LockHolder(
        pid=pid,
        since=since.isoformat(),
        stage=command[-1] if begun else None,
        stage_since=begun.isoformat(timespec="seconds") if begun else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _lived(pid: int, at: datetime) -> bool:
    """Whether the process runs, and is the one that had this number then."""
    try:
        process = psutil.Process(pid)
        begun = datetime.fromtimestamp(process.create_time(), UTC)
        return process.status() != psutil.STATUS_ZOMBIE and begun <= at + _CLOCK_SLACK
    except psutil.Error:
        return False
