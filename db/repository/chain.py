"""The chain of the audit trail: every event carries the hash of itself and of the one before.

Who changes, removes or puts in a row afterwards breaks it at that row. Cutting off the end does not
show by itself; a head that was noted elsewhere (a backup's, a mail's) tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import Event

START = "0" * 64  # before the first event
CONTENT = ("key", "at", "who", "kind", "domain", "round_index", "subject", "detail")


@dataclass(frozen=True, kw_only=True)
class Break:
    """The first event that does not fit."""

    event_id: int
    key: str
    what: str


def event_hash(previous_sha256: str, content: Mapping[str, Any]) -> str:
    """SHA-256 of an event's content and of the hash before it, as canonical JSON."""
    told = {name: content[name] for name in CONTENT} | {"previous_sha256": previous_sha256}
    if isinstance(told["at"], datetime):
        told["at"] = told["at"].astimezone(UTC).isoformat()
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def head(session: Session) -> str:
    """The hash of the newest event; writers take turns, so nobody adds one meanwhile."""
    newest = session.scalars(select(Event.sha256).order_by(Event.id.desc()).limit(1)).first()
    return newest or START


def first_break(rows: Iterable[Event]) -> Break | None:
    """The first of all events, in the order of their recording, that breaks the chain."""
    previous = START
    for row in rows:
        if row.previous_sha256 != previous:
            what = "does not follow the event before it: one was removed or put in between"
            return Break(event_id=row.id, key=row.key, what=what)
        if row.sha256 != event_hash(previous, {name: getattr(row, name) for name in CONTENT}):
            what = "is not as it was recorded: its content was changed"
            return Break(event_id=row.id, key=row.key, what=what)
        previous = row.sha256
    return None
