"""`ssl-loop labelstudio adopt | restore`: what a person says after the tool lost or moved things.

The loop itself concludes nothing from a project, a task or a stretch of answers that is not there.
`adopt` says that what is in the tool now is right; `restore` puts back what the ledger has.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from db.repository import (
    annotation_versions,
    find_query_item,
    ls_tasks,
    next_sequence,
    pre_annotation,
    query_items,
    record_ls_task,
    rounds,
    sample_hashes,
    standing,
)
from db.session import session_scope
from db.tables import Annotation, QueryItem, Verdict
from flows.annotators.annotator import (
    Owner,
    Project,
    PulledAnnotation,
    PushItem,
    ToolStateError,
    ToolTask,
)
from flows.annotators.masks import BRUSH_LABELS
from flows.answers.holdings import Holdings, holdings
from flows.answers.judge import raw_digest
from flows.ledger.domain_projects import remember_project
from flows.ledger.records import (
    AnnotationRecord,
    background_of,
    boxes_of,
    corrected_by,
    read_records,
)
from flows.loop import Loop
from flows.steps.collect import (
    absorb_inbox,
    collect_domain,
    keep_record,
    read_inputs,
    withdraw,
)
from flows.workspace.position import round_tag
from pipeline.data.formats.images import load_image
from pipeline.errors import DataError
from pipeline.records.manifest import Sample
from pipeline.records.regions import framed

VersionKey = tuple[int, str, str]  # annotation id, `updated_at`, hash of the raw answer


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What was taken as this workspace's."""

    project: Project
    tasks: int  # that said nothing of this workspace before
    left_alone: list[str]  # tasks that claim an item and show another image, in words

    def __str__(self) -> str:
        lines = [f"{self.project.url} asks for this domain from now on"]
        lines += [f"{self.tasks} task(s) taken as this workspace's"] if self.tasks else []
        return "\n".join([*lines, *(f"left alone: {line}" for line in self.left_alone)])


@dataclass(frozen=True, kw_only=True)
class PutBack:
    """What the tool has again."""

    project: Project
    is_new: bool
    tasks: int
    answers: int

    def __str__(self) -> str:
        made = "a new project" if self.is_new else "its project"
        return (
            f"{self.project.url}, {made}: {self.tasks} task(s), {self.answers} answer(s) put back"
        )


def adopt(loop: Loop, domain: str, project_id: int | None, *, take_over: bool) -> Adopted:
    """Take a project (None: the one the ledger knows) with all its tasks and answers as it is now.

    Tasks become this workspace's where they name one of its items and show that item's image.
    Answers that are gone count as withdrawn. ToolStateError for a project that is not there, or
    that says that it is another workspace's, unless `take_over`.
    """
    absorb_inbox(loop)
    owner = Owner(workspace_id=loop.identity.id, domain=domain)
    project = _named(loop, domain, project_id)
    if project.owner is not None and project.owner != owner and not take_over:
        raise ToolStateError(
            f"{project.url} says that it is domain {project.owner.domain}'s of workspace "
            f"{project.owner.workspace_id}; that workspace would lose it: --take-over if it is gone"
        )
    taken, left_alone = 0, []
    for task in loop.annotator.tasks(project):
        if task.workspace_id == owner.workspace_id or (task.workspace_id and not take_over):
            continue
        with session_scope(loop.ledger, read_only=True) as session:
            item = find_query_item(session, task.item_id)
        if item is None or item.domain != domain:
            continue
        if not _shows(loop, task, item):
            left_alone.append(f"task {task.task_id} claims {task.item_id} and shows another image")
            continue
        _take(loop, project, task, item)
        taken += 1
    project = loop.annotator.claim_project(project, owner)
    remember_project(loop.ledger, owner, project)
    collect_domain(loop, domain, read_inputs(loop), trust_gone=True)
    return Adopted(project=project, tasks=taken, left_alone=left_alone)


def _named(loop: Loop, domain: str, project_id: int | None) -> Project:
    if project_id is None:
        return loop.project(domain)
    project = loop.annotator.open_project(project_id, loop.read_params().classes)
    if project is None:
        raise ToolStateError(f"the annotation tool has no project {project_id}")
    return project


def _shows(loop: Loop, task: ToolTask, item: QueryItem) -> bool:
    """Whether a task's image is, pixel for pixel, what its item was asked with."""
    sample = _samples(loop)[item.sample_id]
    expected, boxes = load_image(loop.root / sample.image), boxes_of(item)
    if boxes:
        expected = framed(expected, boxes)
    try:
        with Image.open(io.BytesIO(loop.annotator.image(task))) as opened:
            shown = np.asarray(opened.convert("RGB"))
    except OSError:
        return False
    return np.array_equal(shown, expected)


def _take(loop: Loop, project: Project, task: ToolTask, item: QueryItem) -> None:
    with session_scope(loop.ledger) as session:
        image_sha256 = sample_hashes(session, item.domain)[item.sample_id]
        record_ls_task(
            session,
            item_id=item.item_id,
            project_id=project.project_id,
            task_id=task.task_id,
            prediction_id=None,
            pre_annotation=pre_annotation(session, item.item_id),
        )
    own = {"workspace": loop.identity.id, "image_sha256": image_sha256}
    loop.annotator.note(task, own)


def put_back(loop: Loop, domain: str) -> PutBack:
    """Make the domain's project, its tasks and its answers as the ledger has them, where they lack.

    What is in the tool stays. An answer gets a new number there; its author, time and mask are
    kept in the ledger, where it takes the place of the lost one.
    """
    absorb_inbox(loop)
    owner, params = Owner(workspace_id=loop.identity.id, domain=domain), loop.read_params()
    try:
        project, is_new = loop.known_project(domain, params.classes), False
    except ToolStateError as error:
        loop.log(str(error))
        project = None
    if project is None:
        title = f"{params.annotation.title.strip()}: {loop.root.name} / {domain}"
        brush_only = _is_of_older_version(loop, domain)
        project, is_new = (
            loop.annotator.create_project(owner, title, params.classes, brush_only=brush_only),
            True,
        )
        remember_project(loop.ledger, owner, project)
    tasks = _put_tasks_back(loop, domain, holdings(loop, domain, project))
    answers = _put_answers_back(loop, domain, holdings(loop, domain, project))
    return PutBack(project=project, is_new=is_new, tasks=tasks, answers=answers)


def _is_of_older_version(loop: Loop, domain: str) -> bool:
    """Whether the domain was asked when the only tool was a brush, by what was sent and given."""
    results = [record.result for record in read_records(loop.root, [domain])]
    with session_scope(loop.ledger, read_only=True) as session:
        for round_index in rounds(session, domain):
            for item in query_items(session, domain, round_index):
                results.append(pre_annotation(session, item.item_id) or [])
    entries = [entry for result in results for entry in result if isinstance(entry, dict)]
    return any(entry.get("type") == BRUSH_LABELS for entry in entries)


def _put_tasks_back(loop: Loop, domain: str, held: Holdings) -> int:
    count = 0
    samples = _samples(loop)
    with session_scope(loop.ledger, read_only=True) as session:
        lost = {
            round_index: [
                _push_item(loop, session, item, samples)
                for item in query_items(session, domain, round_index)
                if item.item_id not in held.tasks and item.item_id in sent
            ]
            for round_index in rounds(session, domain)
            if (sent := ls_tasks(session, domain, round_index))
        }
    for round_index, items in lost.items():
        pushed = []
        if items:
            pushed = loop.annotator.push(
                held.project,
                items,
                model_version=round_tag(domain, round_index).replace("/", "-"),
                on_progress=lambda done, total: loop.log(f"put back {done}/{total}"),
            )
        with session_scope(loop.ledger) as session:
            for task in pushed:
                record_ls_task(
                    session,
                    item_id=task.item_id,
                    project_id=held.project.project_id,
                    task_id=task.task_id,
                    prediction_id=task.prediction_id,
                    pre_annotation=task.result,
                )
        count += len(pushed)
    return count


def _push_item(
    loop: Loop, session: Session, item: QueryItem, samples: Mapping[str, Sample]
) -> PushItem:
    sample = samples[item.sample_id]
    return PushItem(
        item_id=item.item_id,
        sample_id=item.sample_id,
        image=loop.root / sample.image,
        image_sha256=sample.image_sha256,
        workspace_id=loop.identity.id,
        uncertainty=item.score,
        reason=item.reason,
        pre_annotation_HW=None,
        regions=boxes_of(item),
        as_sent=pre_annotation(session, item.item_id) or [],
        background=background_of(loop.workspace, item),
        corrects=corrected_by(loop.workspace, item),
    )


def _put_answers_back(loop: Loop, domain: str, held: Holdings) -> int:
    with session_scope(loop.ledger, read_only=True) as session:
        versions = annotation_versions(session, domain)
    kept = {_key(record): record for record in read_records(loop.root, [domain])}
    there = held.annotation_ids
    lost = [
        row
        for row in standing(versions)
        if row.verdict is not Verdict.WITHDRAWN
        and row.tool_annotation_id > 0  # by hand, in a commit: never the tool's
        and row.tool_annotation_id not in there
    ]
    known = {row.tool_annotation_id for row in versions}
    count = 0
    for row in lost:
        record = kept.get((row.tool_annotation_id, row.updated_at.isoformat(), row.raw_sha256))
        if record is None:
            raise DataError(
                f"{row.item_id}: annotation {row.tool_annotation_id} is in the ledger, but its "
                "record is neither in the inbox nor in data/; `ssl-loop verify` says what is"
            )
        if tasks := held.tasks.get(row.item_id):
            made = _made_before(loop, held.project, tasks, known, row)
            _record_again(loop, row, record, made or _annotate(loop, tasks[0], row, record), held)
            count += 1
    return count


def _made_before(
    loop: Loop, project: Project, tasks: Iterable[ToolTask], known: set[int], row: Annotation
) -> PulledAnnotation | None:
    """An answer that a killed `restore` put back and did not record."""
    fresh = [task.task_id for task in tasks if set(task.versions) - known]
    for one in loop.annotator.pull(project, fresh).annotations:
        if one.annotation_id not in known and raw_digest(one.result) == row.raw_sha256:
            return one
    return None


def _annotate(
    loop: Loop, task: ToolTask, row: Annotation, record: AnnotationRecord
) -> PulledAnnotation:
    answer = {
        "result": record.result,
        "was_cancelled": row.verdict is Verdict.SKIPPED,
        "lead_time": row.lead_time_s,
        "ground_truth": row.ground_truth,
    }
    return loop.annotator.annotate(task.task_id, answer)


def _record_again(
    loop: Loop, row: Annotation, record: AnnotationRecord, made: PulledAnnotation, held: Holdings
) -> None:
    """First that the old number is gone: a kill in between leaves an answer to be collected."""
    withdraw(loop, row, f"lost by the annotation tool, put back as {made.annotation_id}")
    with session_scope(loop.ledger, read_only=True) as session:
        sequence = next_sequence(session)
    again = {
        **vars(record),
        "project_id": held.project.project_id,
        "task_id": made.task_id,
        "tool_annotation_id": made.annotation_id,
        "created_at": made.created_at.isoformat(),
        "updated_at": made.updated_at.isoformat(),
        "raw_sha256": raw_digest(made.result),
        "sequence": sequence,
    }
    keep_record(loop, AnnotationRecord(**again))


def _key(record: AnnotationRecord) -> VersionKey:
    return record.tool_annotation_id, record.updated_at, record.raw_sha256


def _samples(loop: Loop) -> dict[str, Sample]:
    return {sample.sample_id: sample for sample in loop.workspace.manifest()}
