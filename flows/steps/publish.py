"""Publish: every image of the tagged query becomes exactly one task in the annotation tool."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from db.repository import ls_tasks, query_items, record_ls_task
from db.session import session_scope
from flows.annotators.annotator import Project, PushItem
from flows.annotators.masks import as_painted
from flows.ledger.records import background_at, corrected_among, record_query
from flows.ledger.round_events import note
from flows.loop import Loop
from flows.services import stack
from flows.workspace.position import Position
from pipeline import layout
from pipeline.errors import DataError, ServiceError
from pipeline.ids import item_id
from pipeline.records.manifest import Sample
from pipeline.records.query import QueryImage
from pipeline.records.regions import kept_inside


def publish(loop: Loop, here: Position, query: Sequence[QueryImage]) -> None:
    """Send what has no task yet; done when images in the tag = in the ledger = tasks made."""
    with session_scope(loop.ledger) as session:
        record_query(session, here.domain, here.round_index, query)
        known = set(ls_tasks(session, here.domain, here.round_index))
    missing = [one for one in query if item_id(one.sample_id, here.round_index) not in known]
    if missing:
        _ensure_predictions(loop)
        project = loop.project(here.domain)
        loop.log(f"publishing {len(missing)} of {len(query)} to {project.url}")
        _push(loop, here, project, missing)
        stack.ensure_hook(loop.root, loop.annotator, project)
        _offer_clicks(loop, project)
    with session_scope(loop.ledger) as session:
        note(session, "published", here.domain, here.round_index, items=len(query))


def _offer_clicks(loop: Loop, project: Project) -> None:
    """Without click to mask people paint: nothing waits for it."""
    try:
        stack.ensure_assist(loop.root, loop.annotator, project)
    except ServiceError as error:
        loop.log(f"click to mask is not offered: {error}")


def _ensure_predictions(loop: Loop) -> None:
    """Pre-annotations where a clone has none: no remote keeps them, the tagged model makes them."""
    if not (loop.root / layout.PSEUDO_LABELS).is_dir():
        loop.log("making pre-annotations again from the tagged model")
        loop.workspace.repro("predict", on_line=loop.log)


def _push(loop: Loop, here: Position, project: Project, images: list[QueryImage]) -> None:
    samples = {sample.sample_id: sample for sample in loop.workspace.manifest()}
    background = background_at(loop.workspace, here.tag)
    with session_scope(loop.ledger, read_only=True) as session:
        asked = query_items(session, here.domain, here.round_index)
        corrected = corrected_among(loop.workspace, asked)
    items = [_push_item(loop, here, image, samples, background) for image in images]
    items = [replace(item, corrects=item.item_id in corrected) for item in items]
    pushed = loop.annotator.push(
        project,
        items,
        model_version=here.tag.replace("/", "-"),
        on_progress=lambda done, total: loop.log(f"sent {done}/{total}"),
    )
    twice = asked_of_two([task.item_id for task in pushed], loop.read_params().annotation.overlap)
    loop.annotator.ask_two([task.task_id for task in pushed if task.item_id in twice])
    with session_scope(loop.ledger) as session:
        for task in pushed:
            record_ls_task(
                session,
                item_id=task.item_id,
                project_id=project.project_id,
                task_id=task.task_id,
                prediction_id=task.prediction_id,
                pre_annotation=task.result,
            )


def asked_of_two(item_ids: Sequence[str], share: float) -> set[str]:
    """The share of a query that two people are asked for: as good as drawn at random, and the same
    with every try."""
    ordered = sorted(item_ids, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ordered[: round(share * len(ordered))])


def _push_item(
    loop: Loop,
    here: Position,
    asked: QueryImage,
    samples: dict[str, Sample],
    background: str | None,
) -> PushItem:
    if asked.sample_id not in samples:
        raise DataError(f"query.csv asks for {asked.sample_id}, which data/manifest.csv lacks")
    mask_file = loop.root / layout.sample_png(layout.PSEUDO_LABELS, asked.sample_id)
    mask = None
    if mask_file.exists():
        with Image.open(mask_file) as png:
            mask = np.asarray(png, dtype=np.uint8)
        mask = kept_inside(as_painted(mask, loop.read_params().classes, background), asked.boxes)
    return PushItem(
        item_id=item_id(asked.sample_id, here.round_index),
        sample_id=asked.sample_id,
        image=loop.root / samples[asked.sample_id].image,
        image_sha256=samples[asked.sample_id].image_sha256,
        workspace_id=loop.identity.id,
        uncertainty=asked.score,
        reason=asked.reason,
        pre_annotation_HW=mask,
        regions=asked.boxes,
        background=background,
    )
