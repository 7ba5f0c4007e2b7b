"""Collect: every annotation changed since the last look, kept raw and decoded, judged once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from db.repository import (
    annotation_versions,
    find_annotation,
    find_event,
    find_query_item,
    item_states,
    ls_tasks,
    pre_annotation,
    record_annotation,
    record_event,
    rounds,
    watermark,
)
from db.session import session_scope
from db.tables import Annotation, ItemState
from flows.annotators.masks import changed_pixels, read_annotation
from flows.annotators.types import Project, PulledAnnotation
from flows.loop import Loop, keep_mask
from flows.position import Position
from flows.records import (
    WHO,
    AnnotationRecord,
    boxes_of,
    closed_key,
    mask_file,
    published_key,
    reopened_key,
    write_record,
)
from pipeline.errors import AnnotationError
from pipeline.plain import plain
from pipeline.regions import Box, inside
from pipeline.types import IGNORE

Mask = npt.NDArray[np.uint8]

# The tool stamps an annotation before it is visible to a reader; look back this far again.
OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far people are with a query."""

    total: int
    answered: int  # accepted or skipped, or given up after two quarantines
    open: int
    gone: int
    closed: bool  # by `round close` or by the timeout

    @property
    def settled(self) -> bool:
        """Nothing more to wait for."""
        return self.closed or self.open == 0

    def __str__(self) -> str:
        gone = f", {self.gone} gone" if self.gone else ""
        return f"{self.answered}/{self.total}: {self.open} open{gone}"


class Sent(NamedTuple):
    """What people were asked."""

    item_id: str
    result: list[dict[str, Any]]
    """The pre-annotation."""
    regions: tuple[Box, ...]
    """() = the whole image."""


def collect(loop: Loop, here: Position) -> Progress:
    """Pull, validate, keep, record; returns how far the round is."""
    project = loop.project(here.domain)
    with session_scope(loop.ledger, read_only=True) as session:
        since = watermark(session, here.domain)
        items = {
            task.task_id: item_id
            for round_index in rounds(session, here.domain)
            for item_id, task in ls_tasks(session, here.domain, round_index).items()
        }
    for pulled in loop.annotator.pull(project, since=since - OVERLAP if since else None):
        if pulled.task_id in items:  # tasks that people made by hand are theirs
            _keep(loop, project, pulled, items[pulled.task_id])
    _reopen_quarantined(loop, here)
    return progress(loop, here, project)


def _keep(loop: Loop, project: Project, pulled: PulledAnnotation, item_id: str) -> None:
    with session_scope(loop.ledger, read_only=True) as session:
        known = find_annotation(
            session,
            tool_annotation_id=pulled.annotation_id,
            updated_at=pulled.updated_at,
            raw_sha256=_digest(pulled.result),
        )
        sent = pre_annotation(session, item_id) or []
        item = find_query_item(session, item_id)
        regions = boxes_of(item) if item else ()
    # Judged once: a later version of the decoder must not contradict what is recorded.
    if known is not None and _has_mask(loop, known):
        return
    record = _judge(loop, project, pulled, Sent(item_id, sent, regions))
    # The file first: the ledger never points to something that is not there.
    write_record(loop.root, record)
    with session_scope(loop.ledger) as session:
        _, is_new = record_annotation(session, **record.facts())
    if is_new:
        why = f" ({record.why})" if record.why else ""
        loop.log(f"{item_id}: {record.verdict} by {record.annotator}{why}")


def _judge(loop: Loop, project: Project, pulled: PulledAnnotation, sent: Sent) -> AnnotationRecord:
    verdict, why, mask_sha256, changed = "accepted", "", None, None
    if pulled.was_cancelled:
        verdict = "skipped"
    else:
        try:
            mask_HW, changed, why = _decode(loop, pulled, sent)
            mask_sha256 = keep_mask(loop.root, mask_HW)
        except AnnotationError as error:
            verdict, why = "quarantined", str(error)
    return AnnotationRecord(
        item_id=sent.item_id,
        project_id=project.project_id,
        task_id=pulled.task_id,
        tool_annotation_id=pulled.annotation_id,
        annotator=plain(pulled.annotator),
        lead_time_s=pulled.lead_time_s,
        created_at=pulled.created_at.isoformat(),
        updated_at=pulled.updated_at.isoformat(),
        verdict=verdict,
        why=plain(why),
        corrected_pixels=changed,
        mask_sha256=mask_sha256,
        raw_sha256=_digest(pulled.result),
        result=pulled.result,
    )


def _digest(result: list[dict[str, Any]]) -> str:
    raw = json.dumps(result, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(raw.encode()).hexdigest()


def _has_mask(loop: Loop, known: Annotation) -> bool:
    """Whether the mask of a recorded annotation is still at hand, waiting or merged."""
    digest = known.mask_sha256
    if digest is None or mask_file(loop.root, known.item_id, digest):
        return True
    return any(sample.mask_sha256 == digest for sample in loop.workspace.manifest())


def _decode(loop: Loop, pulled: PulledAnnotation, sent: Sent) -> tuple[Mask, int, str]:
    """The mask, how many pixels people changed, and what is beside that or could not be read;
    AnnotationError if it says nothing.

    What is painted outside the regions that were asked for is left out: people go over the edge,
    and parts of an image that they chose would bias what is learnt.
    """
    sample_id = sent.item_id.rsplit("/", 1)[0]
    sample = next(s for s in loop.workspace.manifest() if s.sample_id == sample_id)
    with Image.open(loop.root / sample.image) as image:
        size = (image.height, image.width)
    classes = loop.params.classes
    mask_HW, beside = read_annotation(pulled.result, sent.result, classes, size=size)
    if sent.regions:
        asked_HW = inside(sent.regions, size)
        if left_out := int(((mask_HW != IGNORE) & ~asked_HW).sum()):
            loop.log(f"{sent.item_id}: {left_out} pixel(s) outside the regions are left out")
        mask_HW = np.where(asked_HW, mask_HW, np.uint8(IGNORE))
    if not (mask_HW != IGNORE).any():
        where = " inside the frames" if sent.regions else ""
        raise AnnotationError(
            f"no pixel{where} carries a label: paint at least one region, or skip"
            f"{f' ({beside})' if beside else ''}"
        )
    return mask_HW, changed_pixels(mask_HW, sent.result, classes), beside


def _reopen_quarantined(loop: Loop, here: Position) -> None:
    """Ask once more for what could not be read: its raw JSON is kept, the tool's copy goes."""
    with session_scope(loop.ledger) as session:
        states = item_states(session, here.domain, here.round_index)
        ids = {
            row.tool_annotation_id
            for row in annotation_versions(session, here.domain, here.round_index)
            if states[row.item_id] is ItemState.QUARANTINED_ONCE
        }
        keys = {a: reopened_key(here.domain, here.round_index, a) for a in sorted(ids)}
        todo = {a: key for a, key in keys.items() if find_event(session, key) is None}
    for annotation_id, key in todo.items():
        loop.annotator.reopen(annotation_id)
        with session_scope(loop.ledger) as session:
            record_event(
                session,
                kind="reopened",
                who=WHO,
                domain=here.domain,
                round_index=here.round_index,
                subject=str(annotation_id),
                key=key,
            )


def progress(loop: Loop, here: Position, project: Project) -> Progress:
    """How far people are, by the ledger and by which tasks still exist in the tool."""
    with session_scope(loop.ledger) as session:
        states = item_states(session, here.domain, here.round_index)
        closed = find_event(session, closed_key(here.domain, here.round_index))
        published = find_event(session, published_key(here.domain, here.round_index))
    unanswered = [item_id for item_id, state in states.items() if not state.settled]
    found = loop.annotator.find_tasks(project, unanswered) if unanswered else {}
    timeout = timedelta(hours=loop.params.loop.round_timeout_h)
    late = published is not None and datetime.now(UTC) - published.at > timeout
    return Progress(
        total=len(states),
        answered=len(states) - len(unanswered),
        open=len(found),
        gone=len(unanswered) - len(found),
        closed=closed is not None or late,
    )
