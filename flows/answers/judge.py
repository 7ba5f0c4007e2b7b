"""Judge: one version of an answer becomes a record with a verdict and, if readable, a mask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from flows.annotators.annotator import Project, PulledAnnotation, Region
from flows.annotators.masks import (
    Mask,
    Reading,
    changed_pixels,
    decode_annotation,
    read_annotation,
)
from flows.ledger.records import AnnotationRecord
from flows.loop import Loop, keep_mask
from pipeline.campaign.corrections import only_corrected
from pipeline.errors import AnnotationError
from pipeline.plain_text import plain
from pipeline.records.manifest import Sample
from pipeline.records.regions import Box, kept_inside
from pipeline.types import IGNORE


@dataclass(frozen=True, kw_only=True)
class Question:
    """What people were asked."""

    item_id: str
    sample: Sample
    classes: Sequence[str]
    pre_annotation: list[Region]
    regions: tuple[Box, ...]  # () = the whole image
    background: str | None = None  # the class of what is left bare; None = unknown
    corrects: bool = False  # only what differs from the pre-annotation is a label


def judge(
    loop: Loop, project: Project, pulled: PulledAnnotation, asked: Question
) -> AnnotationRecord:
    """The record; an accepted one's mask is in the inbox afterwards."""
    verdict, why, mask_sha256, changed = "accepted", "", None, None
    if pulled.was_cancelled:
        verdict = "skipped"
    else:
        try:
            mask_HW, why = decode(loop, pulled, asked)
            changed = _changed(mask_HW, asked)
            mask_sha256 = keep_mask(loop.root, mask_HW)
        except AnnotationError as error:
            verdict, why = "quarantined", str(error)
    return AnnotationRecord(
        item_id=asked.item_id,
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
        raw_sha256=raw_digest(pulled.result),
        result=pulled.result,
        ground_truth=pulled.ground_truth,
    )


def decode(loop: Loop, pulled: PulledAnnotation, asked: Question) -> Reading:
    """What an answer says about the pixels that were asked for; AnnotationError for no mask.

    What is painted outside the regions that were asked for is left out: people go over the edge,
    and parts of an image that they chose would bias what is learnt.
    """
    with Image.open(loop.root / asked.sample.image) as image:
        size = (image.height, image.width)
    whole_HW, beside = read_annotation(
        pulled.result, asked.pre_annotation, asked.classes, size=size, background=asked.background
    )
    if asked.corrects:
        # Nothing to correct is an answer too: the teacher's mistakes are not here.
        return Reading(only_corrected(whole_HW, _shown(asked, size)), beside)
    mask_HW = kept_inside(whole_HW, asked.regions)
    left_out = int((whole_HW != IGNORE).sum()) - int((mask_HW != IGNORE).sum())
    if left_out and asked.background is None:  # what is bare out there was not painted
        loop.log(f"{asked.item_id}: {left_out} pixel(s) outside the regions are left out")
    if not (mask_HW != IGNORE).any():
        where = " inside the frames" if asked.regions else ""
        raise AnnotationError(
            f"no pixel{where} carries a label: paint at least one region, or skip"
            f"{f' ({beside})' if beside else ''}"
        )
    return Reading(mask_HW, beside)


def _shown(asked: Question, size: tuple[int, int]) -> Mask:
    """The pre-annotation as it was sent with this question, whatever the teacher says by now."""
    return decode_annotation(
        asked.pre_annotation, [], asked.classes, size=size, background=asked.background
    )


def _changed(mask_HW: Mask, asked: Question) -> int:
    """Pixels in which the answer differs from the pre-annotation."""
    if asked.corrects:
        return int((mask_HW != IGNORE).sum())
    return changed_pixels(
        mask_HW, asked.pre_annotation, asked.classes, asked.background, asked.regions
    )


def raw_digest(result: list[Region]) -> str:
    """SHA-256 of an answer as the tool gave it."""
    raw = json.dumps(result, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(raw.encode()).hexdigest()
