"""What people answered beside what the teacher had said: the lines of `metrics/answers.csv`.

What the teacher said is the pre-annotation as it was sent, kept in the ledger. So it is of the
round that asked, which had not learnt from the answer, however late that comes and whatever lies in
the working copy by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from db.repository import (
    accepted_items,
    checkpoints,
    find_query_item,
    lead_time,
    pre_annotation,
    query_items,
    rounds,
)
from db.session import session_scope
from db.tables import QueryItem
from flows.annotators.masks import decode_annotation
from flows.ledger.records import asked_at, background_of, boxes_of, corrected_by, is_audit
from flows.loop import Loop
from flows.workspace.position import Position, round_tag
from pipeline import layout
from pipeline.campaign.annotation_time import shape_of
from pipeline.data.formats.images import load_mask
from pipeline.ids import sample_of
from pipeline.records.answers import Answer, compare, parse_answers
from pipeline.records.manifest import Sample
from pipeline.records.regions import kept_inside


def answers_so_far(loop: Loop, here: Position, samples: Sequence[Sample]) -> list[Answer]:
    """One for every accepted item and every audit pick, of all rounds asked so far.

    `samples` are those after the merge, their masks in place. Comparisons that the round's tag has
    already are taken over, unless the mask was edited since.
    """
    by_id = {sample.sample_id: sample for sample in samples}
    known = {(row.item_id, row.mask_sha256): row for row in _answers_at(loop, here)}
    found: list[Answer] = []
    with session_scope(loop.ledger, read_only=True) as session:
        for domain in dict.fromkeys(sample.domain for sample in samples):
            for round_index in rounds(session, domain):
                found += _asked(loop, session, domain, round_index)
        return [_compared(loop, session, row, by_id, known) for row in found]


def _answers_at(loop: Loop, here: Position) -> list[Answer]:
    if not loop.workspace.exists_at(here.tag, layout.ANSWERS):
        return []
    return parse_answers(loop.workspace.file_at(here.tag, layout.ANSWERS))


def _asked(loop: Loop, session: Session, domain: str, round_index: int) -> list[Answer]:
    """Accepted items and audit picks of one round, not compared yet."""
    rows = asked_at(loop.workspace, round_tag(domain, round_index))
    chances = {row.sample_id: row.chance for row in rows if row.chance is not None}
    given = accepted_items(session)
    return [
        Answer(
            item_id=item.item_id,
            source="audit" if is_audit(item) else item.source.value,
            chance=chances.get(item.sample_id),
            mask_sha256=(given[item.item_id].mask_sha256 or "") if item.item_id in given else "",
            counts=(),
            lead_s=lead_time(given[item.item_id].lead_time_s) if item.item_id in given else None,
        )
        for item in query_items(session, domain, round_index)
        if item.item_id in given or is_audit(item)
    ]


def _compared(
    loop: Loop,
    session: Session,
    row: Answer,
    samples: Mapping[str, Sample],
    known: Mapping[tuple[str, str], Answer],
) -> Answer:
    """With the image's newest mask as truth, which may have come with a later question."""
    sample = samples[sample_of(row.item_id)]
    if not row.mask_sha256:
        return row
    before = known.get((row.item_id, sample.mask_sha256))
    if before is not None:
        return replace(before, lead_s=row.lead_s)
    row = replace(row, mask_sha256=sample.mask_sha256)
    asked = find_query_item(session, row.item_id)
    background = background_of(loop.workspace, asked) if asked else None
    sent = pre_annotation(session, row.item_id) or []
    if not sent and (asked is None or background is None or not _had_teacher(session, asked)):
        return row
    classes = loop.read_params().classes
    truth_HW = load_mask(loop.root / sample.mask, len(classes))
    height, width = truth_HW.shape
    predicted_HW = decode_annotation(sent, [], classes, size=(height, width), background=background)
    predicted_HW = kept_inside(predicted_HW, boxes_of(asked) if asked else ())
    shape = shape_of(predicted_HW)
    boxes = boxes_of(asked, source="audit") or boxes_of(asked) if asked else ()
    # Of an image with regions drawn at random these alone are compared.
    truth_HW = kept_inside(truth_HW, boxes)
    # What was left alone in a correction is no truth: of its few labels every one was wrong.
    unfair = sample.corrected and asked is not None and corrected_by(loop.workspace, asked)
    counts = () if unfair else compare(truth_HW, predicted_HW)
    return replace(row, counts=counts, boundary=shape.boundary, regions=shape.regions)


def _had_teacher(session: Session, asked: QueryItem) -> bool:
    """Whether nothing was sent because a teacher said that all of it is background."""
    trained = checkpoints(session, asked.domain)
    return any(one.round_index == asked.round_index for one in trained)
