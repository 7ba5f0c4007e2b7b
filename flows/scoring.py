"""What people answered beside what the teacher had said: the lines of `metrics/answers.csv`.

What the teacher said is the pre-annotation as it was sent, kept in the ledger. So it is of the
round that asked, which had not learnt from the answer, however late that comes and whatever lies in
the working copy by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from db.repository import annotation_versions, pre_annotation, query_items, rounds
from db.session import session_scope
from db.tables import Verdict
from flows.annotators.masks import decode_annotation
from flows.loop import Loop
from flows.position import Position, round_tag
from flows.records import asked_at
from pipeline import layout
from pipeline.answers import Answer, Counts, compare, parse_answers
from pipeline.data.formats.images import load_mask
from pipeline.data.manifest import Sample


def answers_so_far(loop: Loop, here: Position, samples: Sequence[Sample]) -> list[Answer]:
    """One for every accepted item and every audit pick, of all rounds asked so far.

    `samples` are those after the merge, their masks in place. Comparisons that the round's tag has
    already are taken over, unless the mask was edited since.
    """
    by_id = {sample.sample_id: sample for sample in samples}
    known = {(row.item_id, row.mask_sha256): row.counts for row in _answers_at(loop, here)}
    found = []
    with session_scope(loop.ledger, read_only=True) as session:
        for domain in dict.fromkeys(sample.domain for sample in samples):
            for round_index in rounds(session, domain):
                found += _asked(loop, session, domain, round_index)
        for place, row in enumerate(found):
            sample = by_id[row.item_id.rsplit("/", 1)[0]]
            if row.mask_sha256:  # of the newest answer, which may be to a later question
                key = (row.item_id, sample.mask_sha256)
                counts = known[key] if key in known else _counts(loop, session, key[0], sample)
                found[place] = replace(row, mask_sha256=sample.mask_sha256, counts=counts)
    return found


def _answers_at(loop: Loop, here: Position) -> list[Answer]:
    if not loop.workspace.exists_at(here.tag, layout.ANSWERS):
        return []
    return parse_answers(loop.workspace.show(here.tag, layout.ANSWERS).decode())


def _asked(loop: Loop, session: Session, domain: str, round_index: int) -> list[Answer]:
    """Accepted items and audit picks of one round, not compared yet."""
    rows = asked_at(loop.workspace, round_tag(domain, round_index))
    chances = {row.sample_id: row.chance for row in rows}
    masks = {
        version.item_id: version.mask_sha256
        for version in annotation_versions(session, domain, round_index)
        if version.verdict is Verdict.ACCEPTED
    }
    return [
        Answer(
            item_id=item.item_id,
            source=item.source.value,
            chance=chances.get(item.sample_id),
            mask_sha256=masks.get(item.item_id) or "",
            counts=(),
        )
        for item in query_items(session, domain, round_index)
        if item.item_id in masks or item.source == "audit"
    ]


def _counts(loop: Loop, session: Session, item_id: str, sample: Sample) -> Counts:
    """() where nothing was sent for want of a teacher."""
    sent = pre_annotation(session, item_id)
    if not sent:
        return ()
    truth_HW = load_mask(loop.root / sample.mask, loop.params.num_classes)
    height, width = truth_HW.shape
    predicted_HW = decode_annotation(sent, [], loop.params.classes, size=(height, width))
    return compare(truth_HW, predicted_HW)
