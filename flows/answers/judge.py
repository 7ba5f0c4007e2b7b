"""Judge: one version of an answer becomes a record with a verdict and, if readable, a mask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flows.annotators.annotator import Project, PulledAnnotation, Region
from flows.annotators.masks import Reading, changed_pixels, read_annotation
from flows.ledger.records import AnnotationRecord
from flows.loop import Loop, keep_mask
from pipeline.errors import AnnotationError
from pipeline.plain_text import plain
from pipeline.records.manifest import Sample
from pipeline.records.regions import Box, inside
from pipeline.types import IGNORE


@dataclass(frozen=True, kw_only=True)
class Question:
    """What people were asked."""

    item_id: str
    sample: Sample
    classes: Sequence[str]
    pre_annotation: list[Region]
    regions: tuple[Box, ...]  # () = the whole image


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
            changed = changed_pixels(mask_HW, asked.pre_annotation, asked.classes)
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
    mask_HW, beside = read_annotation(pulled.result, asked.pre_annotation, asked.classes, size=size)
    if asked.regions:
        asked_HW = inside(asked.regions, size)
        if left_out := int(((mask_HW != IGNORE) & ~asked_HW).sum()):
            loop.log(f"{asked.item_id}: {left_out} pixel(s) outside the regions are left out")
        mask_HW = np.where(asked_HW, mask_HW, np.uint8(IGNORE))
    if not (mask_HW != IGNORE).any():
        where = " inside the frames" if asked.regions else ""
        raise AnnotationError(
            f"no pixel{where} carries a label: paint at least one region, or skip"
            f"{f' ({beside})' if beside else ''}"
        )
    return Reading(mask_HW, beside)


def raw_digest(result: list[Region]) -> str:
    """SHA-256 of an answer as the tool gave it."""
    raw = json.dumps(result, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(raw.encode()).hexdigest()
