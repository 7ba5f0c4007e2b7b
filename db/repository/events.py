"""The audit trail: who did what, once each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.repository.chain import event_hash, head
from db.repository.insert_once import refuse_difference
from db.tables import Event


def record_event(  # noqa: PLR0913 - one keyword per column
    session: Session,
    *,
    kind: str,
    who: str,
    domain: str | None = None,
    round_index: int | None = None,
    subject: str = "",
    detail: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    key: str | None = None,
) -> bool:
    """Whether it was new. Without `key`, the same kind, domain, round and subject are one event.

    A tick that runs again says the same with another clock and process: `who`, `detail` and `at`
    of the first time stand, and only a key used for something else is refused.
    """
    about: dict[str, Any] = {
        "kind": kind,
        "domain": domain,
        "round_index": round_index,
        "subject": subject,
    }
    key = key or default_key(**about)
    found = find_event(session, key)
    if found is not None:
        refuse_difference(found, {"key": key}, about)
        return False
    content: dict[str, Any] = {
        **about,
        "key": key,
        "who": who,
        "at": at or datetime.now(UTC),
        "detail": json.loads(json.dumps(dict(detail or {}))),  # as it will be read back
    }
    previous = head(session)
    digest = event_hash(previous, content)
    session.add(Event(**content, previous_sha256=previous, sha256=digest))
    session.flush()
    return True


def find_event(session: Session, key: str) -> Event | None:
    """The event of this key; None if it has not happened."""
    return session.scalars(select(Event).where(Event.key == key)).one_or_none()


def default_key(*, kind: str, domain: str | None, round_index: int | None, subject: str) -> str:
    """`kind:domain/rN:subject`, the parts that are there."""
    where = domain or ""
    if round_index is not None:
        where += f"/r{round_index}"
    return ":".join(part for part in (kind, where, subject) if part)


def events(session: Session, kind: str | None = None, domain: str | None = None) -> list[Event]:
    """Events in the order in which they were recorded."""
    statement = select(Event)
    if kind is not None:
        statement = statement.where(Event.kind == kind)
    if domain is not None:
        statement = statement.where(Event.domain == domain)
    return list(session.scalars(statement.order_by(Event.id)))
