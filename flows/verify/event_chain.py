"""The audit trail: no event was changed, removed or put in afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from db.repository import events as recorded
from db.repository import first_break
from db.session import session_scope
from flows.verify.evidence import Evidence, Finding


def events(evidence: Evidence) -> Iterator[Finding]:
    """The chain of the events is whole: each follows the one before and is as it was recorded."""
    with session_scope(evidence.loop.ledger, read_only=True) as session:
        broken = first_break(recorded(session))
    if broken:
        yield Finding(
            where=f"event {broken.event_id} ({broken.key})",
            what=broken.what,
            remedy="the ledger was changed by hand: a backup from before has what was there; or "
            "set it aside and `ssl-loop ledger rebuild`, which begins a new chain",
        )
