"""What people answered: every version of every annotation, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.errors import LedgerError
from db.repository.once import add_once, member
from db.repository.queries import query_items, rounds
from db.tables import Annotation, ItemState, QueryItem, Verdict

Selected = TypeVar("Selected", bound=Select[Any])

LONGEST_LEAD_S = 8 * 3600.0  # for one answer: a working day
# In the tool's time, not ours: versions may be collected late. Ties go to the later submission.
_OLDEST_FIRST = (Annotation.updated_at, Annotation.tool_annotation_id, Annotation.id)
_NEWEST_FIRST = tuple(column.desc() for column in _OLDEST_FIRST)


@dataclass(frozen=True, kw_only=True)
class RoundAnswers:
    """One line of the report's table: items unless another unit is named."""

    round_index: int
    asked: int
    accepted: int
    corrected: int  # accepted with at least one pixel unlike the pre-annotation
    skipped: int
    quarantined: int  # annotation versions that could not be read, answered again or not
    lead_minutes: float
    regions_asked: int = 0  # where not whole images were
    regions_accepted: int = 0
    pixels_accepted: int = 0  # of these regions


def record_annotation(  # noqa: PLR0913 - one keyword per column
    session: Session,
    *,
    item_id: str,
    tool_annotation_id: int,
    annotator: str,
    lead_time_s: float | None,
    created_at: datetime,
    updated_at: datetime,
    raw_sha256: str,
    mask_sha256: str | None,
    verdict: str,
    why: str = "",
    corrected_pixels: int | None = None,
) -> tuple[Annotation, bool]:
    """The row and whether it is new; identity is the tool's id, `updated_at` and the raw JSON.

    A new version, or a newer answer to the same item, supersedes the newest one before it.
    """
    if session.get(QueryItem, item_id) is None:
        raise LedgerError(f"query item {item_id!r} is not in the ledger: record the query first")
    key = {
        "tool_annotation_id": tool_annotation_id,
        "updated_at": updated_at,
        "raw_sha256": raw_sha256,
    }
    content = {
        "item_id": item_id,
        "annotator": annotator,
        "lead_time_s": lead_time_s,
        "created_at": created_at,
        "mask_sha256": mask_sha256,
        "verdict": _checked(verdict, mask_sha256, why),
        "why": why,
        "corrected_pixels": corrected_pixels,
    }
    first = {"supersedes": _latest_before(session, item_id, updated_at)}
    return add_once(session, Annotation, key, content, first)


def _latest_before(session: Session, item_id: str, updated_at: datetime) -> int | None:
    return session.scalars(
        select(Annotation.id)
        .where(Annotation.item_id == item_id, Annotation.updated_at <= updated_at)
        .order_by(*_NEWEST_FIRST)
    ).first()


def _checked(verdict: str, mask_sha256: str | None, why: str) -> Verdict:
    known = member(Verdict, verdict, "verdict")
    if (known is Verdict.ACCEPTED) != (mask_sha256 is not None):
        raise LedgerError(f"verdict {verdict!r} with mask {mask_sha256!r}: accepted ones have one")
    if known is Verdict.QUARANTINED and not why:
        raise LedgerError("verdict 'quarantined' without a reason: say why it could not be read")
    return known


def find_annotation(
    session: Session, *, tool_annotation_id: int, updated_at: datetime, raw_sha256: str
) -> Annotation | None:
    """The version if it was collected before, so that it need not be judged a second time."""
    statement = select(Annotation).filter_by(
        tool_annotation_id=tool_annotation_id, updated_at=updated_at, raw_sha256=raw_sha256
    )
    return session.scalars(statement).one_or_none()


def annotation_versions(
    session: Session, domain: str | None = None, round_index: int | None = None
) -> list[Annotation]:
    """Every version, oldest first by the tool's time."""
    statement = _of(select(Annotation), domain, round_index)
    return list(session.scalars(statement.order_by(*_OLDEST_FIRST)))


def watermark(session: Session, domain: str | None = None) -> datetime | None:
    """The tool's time of the newest version collected; None before the first."""
    return session.scalar(_of(select(func.max(Annotation.updated_at)), domain, None))


def state_of(verdicts: Sequence[Verdict]) -> ItemState:
    """Where an item stands after these verdicts, oldest first.

    Any accepted answer wins, since a skip or a spoilt edit takes nothing back; then the newest
    verdict; a skip settles even if an unreadable answer came after it.
    """
    if not verdicts:
        return ItemState.OPEN
    if Verdict.ACCEPTED in verdicts:
        return ItemState.ACCEPTED
    if verdicts[-1] is Verdict.SKIPPED:
        return ItemState.SKIPPED
    if verdicts.count(Verdict.QUARANTINED) > 1:
        return ItemState.QUARANTINED_TWICE
    return ItemState.SKIPPED if Verdict.SKIPPED in verdicts else ItemState.QUARANTINED_ONCE


def item_states(session: Session, domain: str, round_index: int) -> dict[str, ItemState]:
    """`item_id -> state` of every item of one round, rank 1 first."""
    items = query_items(session, domain, round_index)
    verdicts: dict[str, list[Verdict]] = {item.item_id: [] for item in items}
    for row in annotation_versions(session, domain, round_index):
        verdicts[row.item_id].append(row.verdict)
    return {item_id: state_of(given) for item_id, given in verdicts.items()}


def latest_accepted(session: Session, domain: str | None = None) -> dict[str, Annotation]:
    """`sample_id -> its newest accepted annotation` over all rounds, newest in the tool's time."""
    statement = (
        _of(select(QueryItem.sample_id, Annotation), domain, None)
        .where(Annotation.verdict == Verdict.ACCEPTED)
        .order_by(*_OLDEST_FIRST)
    )
    return dict(session.execute(statement).tuples().all())


def accepted_items(session: Session) -> dict[str, Annotation]:
    """`item_id -> its newest accepted annotation`: an image may have been asked for repeatedly."""
    statement = select(Annotation).where(Annotation.verdict == Verdict.ACCEPTED)
    return {row.item_id: row for row in session.scalars(statement.order_by(*_OLDEST_FIRST))}


def annotated_count(session: Session, domain: str | None = None) -> int:
    """Samples with an accepted annotation: what the budget is counted in."""
    statement = _of(select(func.count(QueryItem.sample_id.distinct())), domain, None)
    return session.scalar(statement.where(Annotation.verdict == Verdict.ACCEPTED)) or 0


def answers(session: Session, domain: str) -> list[RoundAnswers]:
    """One line per round of the domain, in order."""
    return [
        _round_answers(
            query_items(session, domain, round_index),
            item_states(session, domain, round_index),
            annotation_versions(session, domain, round_index),
            round_index=round_index,
        )
        for round_index in rounds(session, domain)
    ]


def lead_time(raw_s: float | None) -> float | None:
    """Seconds that an answer took, for figures; None where nobody knows.

    The tool's page computes it from the browser's clock: set back while somebody paints it is below
    0, and a tab left open makes days of it. What was sent stays in the ledger.
    """
    if raw_s is None or math.isnan(raw_s):
        return None
    return min(max(raw_s, 0.0), LONGEST_LEAD_S)


def _round_answers(
    items: Sequence[QueryItem],
    states: Mapping[str, ItemState],
    versions: Sequence[Annotation],
    *,
    round_index: int,
) -> RoundAnswers:
    found = list(states.values())
    accepted = {row.item_id: row for row in versions if row.verdict is Verdict.ACCEPTED}
    # The tool's lead time of an edit includes what came before, so the newest version has it all.
    lead_s = {row.tool_annotation_id: lead_time(row.lead_time_s) or 0.0 for row in versions}
    boxes = [region["box"] for item in items for region in item.regions or ()]
    answered = [
        region["box"]
        for item in items
        if states[item.item_id] is ItemState.ACCEPTED
        for region in item.regions or ()
    ]
    return RoundAnswers(
        round_index=round_index,
        asked=len(found),
        accepted=found.count(ItemState.ACCEPTED),
        corrected=sum((row.corrected_pixels or 0) > 0 for row in accepted.values()),
        skipped=found.count(ItemState.SKIPPED),
        quarantined=sum(row.verdict is Verdict.QUARANTINED for row in versions),
        lead_minutes=sum(lead_s.values()) / 60,
        regions_asked=len(boxes),
        regions_accepted=len(answered),
        pixels_accepted=sum(width * height for _, _, width, height in answered),
    )


def _of(statement: Selected, domain: str | None, round_index: int | None) -> Selected:
    """The statement over annotations, held to one domain or round."""
    statement = statement.join_from(Annotation, QueryItem, QueryItem.item_id == Annotation.item_id)
    if domain is not None:
        statement = statement.where(QueryItem.domain == domain)
    if round_index is not None:
        statement = statement.where(QueryItem.round_index == round_index)
    return statement
