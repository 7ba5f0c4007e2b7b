"""What was asked: the tagged query = the ledger's items = tasks made, one each."""

from __future__ import annotations

from collections.abc import Iterator

from db.repository import ls_tasks
from db.session import session_scope
from flows.ledger.records import asked_at
from flows.ledger.round_events import find_note
from flows.verify.evidence import Evidence, Finding
from pipeline.ids import item_id
from pipeline.records.query import by_image


def asked(evidence: Evidence) -> Iterator[Finding]:
    """What a round's tag asks for is what the ledger says, and in a published round has a task."""
    for domain, round_index, tag in evidence.rounds:
        rows = by_image(asked_at(evidence.workspace, tag))
        tagged = {item_id(row.sample_id, round_index) for row in rows}
        with session_scope(evidence.loop.ledger, read_only=True) as session:
            sent = set(ls_tasks(session, domain, round_index))
            published = find_note(session, "published", domain, round_index) is not None
        of_round = (domain, round_index)
        known = {
            name
            for name, item in evidence.items.items()
            if (item.domain, item.round_index) == of_round
        }
        yield from _unlike(tag, tagged, known)
        for name in sorted(known - sent) if published else ():
            yield Finding(
                where=name,
                what="was published and has no task in the ledger",
                remedy="`ssl-loop ledger rebuild` for a merged round; the next tick makes the task "
                "of the current one",
            )


def _unlike(tag: str, tagged: set[str], known: set[str]) -> Iterator[Finding]:
    for name in sorted(tagged - known):
        yield Finding(
            where=name,
            what=f"is asked for at {tag} and not in the ledger",
            remedy="`ssl-loop ledger rebuild`",
        )
    for name in sorted(known - tagged):
        yield Finding(
            where=name,
            what=f"is in the ledger and not asked for at {tag}",
            remedy="the ledger is another workspace's or was changed by hand: set it aside and "
            "`ssl-loop ledger rebuild`",
        )
