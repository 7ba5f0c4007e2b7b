"""What people answered: every version of every annotation, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.ledger_errors import LedgerError
from db.repository.insert_once import Recorded, add_once, member
from db.repository.queries import query_items, rounds
from db.tables import Annotation, ItemState, QueryItem, Verdict

Selected = TypeVar("Selected", bound=Select[Any])

LONGEST_LEAD_S = 8 * 3600.0  # for one answer: a working day
# Submitted twice within so many seconds, the same by the same person: one answer, a double click.
DOUBLE_CLICK = timedelta(seconds=60)


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
    ground_truth: bool = False,
    sequence: int | None = None,
) -> Recorded[Annotation]:
    """The version; its identity is the tool's id, `updated_at` and the raw JSON.

    `sequence` is the place that the version had in the ledger it was first recorded in; without
    one, and where another version has that place, it comes last.
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
        "ground_truth": ground_truth,
    }
    if sequence is None or _is_taken(session, sequence):
        sequence = next_sequence(session)
    first = {"supersedes": _before(session, item_id, sequence), "sequence": sequence}
    return add_once(session, Annotation, key, content, first)


def next_sequence(session: Session) -> int:
    """The place of the version that is recorded next."""
    newest = session.scalar(select(func.max(Annotation.sequence)))
    return 0 if newest is None else newest + 1


def _is_taken(session: Session, sequence: int) -> bool:
    statement = select(Annotation.id).where(Annotation.sequence == sequence)
    return session.scalars(statement).first() is not None


def _before(session: Session, item_id: str, sequence: int) -> int | None:
    return session.scalars(
        select(Annotation.id)
        .where(Annotation.item_id == item_id, Annotation.sequence < sequence)
        .order_by(Annotation.sequence.desc())
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
    """Every version, in the order in which they came."""
    statement = _of(select(Annotation), domain, round_index)
    return list(session.scalars(statement.order_by(Annotation.sequence)))


def standing(versions: Iterable[Annotation]) -> list[Annotation]:
    """The version of each answer that stands, in the order in which they came.

    That is the newest, but for an edit that cannot be read: it takes nothing back. `versions` in
    the order in which they came.
    """
    found: dict[tuple[int, datetime], Annotation] = {}
    for row in versions:
        answer = (row.tool_annotation_id, row.created_at)
        before = found.get(answer)
        if (
            row.verdict is Verdict.QUARANTINED
            and before is not None
            and before.verdict is Verdict.ACCEPTED
        ):
            continue
        found.pop(answer, None)
        found[answer] = row
    return list(found.values())


def state_of(versions: Sequence[Annotation]) -> ItemState:
    """Where an item stands after these versions of answers to it, in the order of their coming.

    Any accepted answer wins, since another's skip takes nothing back; then the newest verdict; a
    skip settles even if an unreadable answer came after it. What was withdrawn counts as never
    given.
    """
    given = [row for row in standing(versions) if row.verdict is not Verdict.WITHDRAWN]
    verdicts = [row.verdict for row in given]
    if not verdicts:
        return ItemState.OPEN
    if Verdict.ACCEPTED in verdicts:
        return ItemState.ACCEPTED
    if verdicts[-1] is Verdict.SKIPPED:
        return ItemState.SKIPPED
    answers_given = {(row.tool_annotation_id, row.created_at) for row in given}
    unreadable = [
        row
        for row in versions
        if row.verdict is Verdict.QUARANTINED
        and (row.tool_annotation_id, row.created_at) in answers_given
    ]
    if _times(unreadable) > 1:
        return ItemState.QUARANTINED_TWICE
    return ItemState.SKIPPED if Verdict.SKIPPED in verdicts else ItemState.QUARANTINED_ONCE


def _times(versions: Sequence[Annotation]) -> int:
    """How often something was submitted, a double click counting once."""
    return sum(
        not any(
            (row.annotator, row.raw_sha256) == (other.annotator, other.raw_sha256)
            and abs(row.updated_at - other.updated_at) <= DOUBLE_CLICK
            for other in versions[:place]
        )
        for place, row in enumerate(versions)
    )


def item_states(session: Session, domain: str, round_index: int) -> dict[str, ItemState]:
    """`item_id -> state` of every item of one round, rank 1 first."""
    items = query_items(session, domain, round_index)
    versions: dict[str, list[Annotation]] = {item.item_id: [] for item in items}
    for row in annotation_versions(session, domain, round_index):
        versions[row.item_id].append(row)
    return {item_id: state_of(given) for item_id, given in versions.items()}


def latest_accepted(session: Session, domain: str | None = None) -> dict[str, Annotation]:
    """`sample_id -> the accepted annotation that counts` over all rounds, in the order of coming.

    The one that is starred in the tool counts, otherwise the one that came last.
    """
    statement = _of(select(QueryItem.sample_id, Annotation), domain, None)
    rows = session.execute(statement.order_by(Annotation.sequence)).tuples().all()
    samples = {row.item_id: sample_id for sample_id, row in rows}
    return _counting((samples[row.item_id], row) for row in standing(row for _, row in rows))


def accepted_items(session: Session) -> dict[str, Annotation]:
    """As `latest_accepted` by item: an image may have been asked for repeatedly."""
    return _counting((row.item_id, row) for row in standing(annotation_versions(session)))


def _counting(rows: Iterable[tuple[str, Annotation]]) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    for name, row in rows:
        if row.verdict is Verdict.ACCEPTED and (
            row.ground_truth or name not in found or not found[name].ground_truth
        ):
            found.pop(name, None)  # the order of the names is that of their coming too
            found[name] = row
    return found


def withdrawn_samples(session: Session) -> set[str]:
    """Samples that were answered, all of whose accepted answers are withdrawn now."""
    statement = select(QueryItem.sample_id).join(
        Annotation, QueryItem.item_id == Annotation.item_id
    )
    answered = set(session.scalars(statement.where(Annotation.verdict == Verdict.ACCEPTED)))
    return answered - set(latest_accepted(session))


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
    accepted = _counting((row.item_id, row) for row in standing(versions))
    # The tool's lead time of an edit includes what came before, so the newest version has it all.
    lead_s = {
        (row.tool_annotation_id, row.created_at): lead_time(row.lead_time_s) or 0.0
        for row in versions
    }
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
