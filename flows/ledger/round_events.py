"""Events of a round in the ledger: each happens once, by a key that says what happened to which."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from db import repository
from db.tables import Event
from flows.workspace.position import round_tag

WHO = "ssl-loop"
# Kinds whose keys begin with another word than the kind, as ledgers have them.
_BEGINS = {"stage_completed": "stage", "forgetting_accepted": "accepted"}


def event_key(kind: str, domain: str, round_index: int, subject: str = "") -> str:
    """`published/day/r0`, or `stage/day/r0/embed` where a round has several of a kind."""
    words = (_BEGINS.get(kind, kind), round_tag(domain, round_index), subject)
    return "/".join(filter(None, words))


def note(  # noqa: PLR0913 - one keyword per column
    session: Session,
    kind: str,
    domain: str,
    round_index: int,
    *,
    subject: str = "",
    who: str = WHO,
    at: datetime | None = None,
    **detail: Any,
) -> bool:
    """Record that `kind` happened to a round; whether that is new. The first time stands."""
    return repository.record_event(
        session,
        kind=kind,
        who=who,
        domain=domain,
        round_index=round_index,
        subject=subject,
        detail=detail,
        at=at,
        key=event_key(kind, domain, round_index, subject),
    )


def find_note(session: Session, kind: str, domain: str, round_index: int) -> Event | None:
    """The event of this kind; None where it has not happened to the round."""
    return repository.find_event(session, event_key(kind, domain, round_index))
