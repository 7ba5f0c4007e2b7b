"""Collect: every version of every answer in the tool, kept raw and decoded, judged once.

What is new is found by the tool's ids and versions, not by its clock. An answer that is gone while
its task is there was withdrawn; a task or a project that is gone says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from db.repository import (
    accepted_items,
    annotation_versions,
    find_annotation,
    find_query_item,
    next_sequence,
    pre_annotation,
    record_annotation,
)
from db.session import session_scope
from db.tables import Annotation, QueryItem, Verdict
from flows.annotators.annotator import Project, PulledAnnotation, ToolStateError
from flows.answers.collected_clicks import collect_clicks
from flows.answers.disagreements import mark_disagreements
from flows.answers.holdings import Given, Holdings, holdings
from flows.answers.judge import Question, decode, judge, raw_digest
from flows.answers.send_back import send_back
from flows.ledger.domain_projects import sent_tasks
from flows.ledger.records import (
    AnnotationRecord,
    background_at,
    boxes_of,
    corrected_by,
    has_record,
    mask_file,
    read_records,
    record_of_row,
    write_record,
)
from flows.loop import Loop, keep_mask
from flows.rounds.round_progress import QueryProgress, progress
from flows.workspace.position import Position, round_tag
from pipeline.campaign.spending import spending
from pipeline.config.params import Params
from pipeline.errors import ServiceError
from pipeline.ids import sample_of
from pipeline.records.manifest import Sample

_TICK = timedelta(microseconds=1)  # the tool's shortest time: a version of ours follows its own


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The files that all domains and answers are read against, as one step found them."""

    params: Params
    samples: Mapping[str, Sample]
    """`sample_id -> sample` of the working copy's manifest."""
    backgrounds: dict[str, str | None] = field(default_factory=dict)
    """`tag -> background` of the rounds that were asked for, each read once."""

    def background(self, loop: Loop, item: QueryItem) -> str | None:
        """What bare pixels of an item's answers are."""
        tag = round_tag(item.domain, item.round_index)
        if tag not in self.backgrounds:
            self.backgrounds[tag] = background_at(loop.workspace, tag)
        return self.backgrounds[tag]


def read_inputs(loop: Loop) -> Inputs:
    """params.yaml and the manifest as they are now."""
    samples = {sample.sample_id: sample for sample in loop.workspace.manifest()}
    return Inputs(params=loop.read_params(), samples=samples)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What the loop has of a domain's answers, by the tool's ids."""

    newest: dict[int, Annotation]
    """Annotation id -> its newest version."""
    versions: set[tuple[int, datetime]]
    """(annotation id, `updated_at`) of every version."""
    lost: set[int]
    """Annotation ids of which the newest version's record is not at hand, or the mask of an answer
    that counts."""
    inputs: Inputs

    def lacks(self, annotation_id: int, updated_at: datetime) -> bool:
        """Whether a version in the tool is still to be read."""
        return (
            (annotation_id, updated_at) not in self.versions
            or annotation_id in self.lost
            or self.is_withdrawn(annotation_id)
        )

    def is_withdrawn(self, annotation_id: int) -> bool:
        """Whether the newest version says that the answer was taken back."""
        newest = self.newest.get(annotation_id)
        return newest is not None and newest.verdict is Verdict.WITHDRAWN


def collect(loop: Loop, here: Position) -> QueryProgress:
    """Pull, validate, keep, record; returns how far the round is."""
    absorb_inbox(loop)
    inputs = read_inputs(loop)
    _collect_others(loop, inputs, but=here.domain)
    given = collect_domain(loop, here.domain, inputs)
    spent = spending(inputs.samples.values(), inputs.params, here.domain)
    return progress(loop, here, given, inputs.params.loop, spent)


def collect_late(loop: Loop) -> None:
    """Answers to the tasks of all domains, once none asks for any more."""
    _collect_others(loop, read_inputs(loop), but=None)


def _collect_others(loop: Loop, inputs: Inputs, *, but: str | None) -> None:
    """Answers to older domains' tasks; what stands in their way is named and not waited for."""
    for domain in inputs.params.domains:
        if domain != but:
            try:
                collect_domain(loop, domain, inputs)
            except ServiceError as error:
                loop.log(f"late answers to {domain} are not collected: {error}")


def collect_domain(loop: Loop, domain: str, inputs: Inputs, *, trust_gone: bool = False) -> Given:
    """What the tool gives of a domain, its new versions being in the ledger.

    ToolStateError when so many answers are gone at once that the tool looks as if set back to an
    older state, unless a person says with `trust_gone` that it was not.
    """
    if not sent_tasks(loop.ledger, domain):
        return Given(None, {})
    project = loop.known_project(domain, inputs.params.classes)
    if project is None:
        return Given(None, {})
    held, known = holdings(loop, domain, project), _collected(loop, domain, inputs)
    if not trust_gone:
        _require_not_set_back(held, known)
    tasks = {
        task.task_id: item_id
        for item_id, ours in held.tasks.items()
        for task in ours
        if any(known.lacks(number, moment) for number, moment in task.versions.items())
    }
    pulled = loop.annotator.pull(project, list(tasks))
    for one in pulled.annotations:
        _keep(loop, project, one, tasks[one.task_id], known)
    for row in _vanished(held, known):
        withdraw(loop, row, "deleted in the annotation tool")
    for row in known.newest.values():  # of these the tool has nothing to give
        if row.verdict is Verdict.WITHDRAWN and not has_record(loop.root, row):
            write_record(loop.root, record_of_row(row))
    send_back(loop, domain, held)
    collect_clicks(loop, domain)
    mark_disagreements(loop, domain, held)
    return Given(held, pulled.unreadable)


def _collected(loop: Loop, domain: str, inputs: Inputs) -> Collected:
    with session_scope(loop.ledger, read_only=True) as session:
        versions = annotation_versions(session, domain)
        counting = accepted_items(session)
    in_data = {sample.mask_sha256 for sample in inputs.samples.values()}
    # Masks that people committed by hand have negative numbers: the tool never had them.
    newest = {row.tool_annotation_id: row for row in versions if row.tool_annotation_id > 0}
    return Collected(
        newest=newest,
        versions={(row.tool_annotation_id, row.updated_at) for row in versions},
        lost={
            row.tool_annotation_id
            for row in counting.values()
            if row.mask_sha256 not in in_data
            and mask_file(loop.root, row.item_id, str(row.mask_sha256)) is None
        }
        | {number for number, row in newest.items() if not has_record(loop.root, row)},
        inputs=inputs,
    )


def _vanished(held: Holdings, known: Collected) -> list[Annotation]:
    """Answers that were collected and are gone from a task that is still there."""
    there = held.annotation_ids
    return [
        row
        for number, row in known.newest.items()
        if number not in there
        and row.item_id in held.tasks
        and row.verdict is not Verdict.WITHDRAWN
    ]


def _require_not_set_back(held: Holdings, known: Collected) -> None:
    """ToolStateError where several answers are gone, all of them newer than any that is there.

    That is what a tool looks like that was set back to an older backup; people who take answers
    back rarely take the last ones alone.
    """
    gone = sorted(row.tool_annotation_id for row in _vanished(held, known))
    if len(gone) > 1 and gone[0] > max(held.annotation_ids, default=0):
        raise ToolStateError(
            f"{held.project.url}: the {len(gone)} newest answers that were collected (annotations "
            f"{gone[0]} to {gone[-1]}) are not there any more; the tool may have been set back to "
            "an older backup. Nothing is concluded from that: `ssl-loop labelstudio restore` puts "
            "them back, `ssl-loop labelstudio adopt` takes them as withdrawn"
        )


def withdraw(loop: Loop, row: Annotation, why: str) -> None:
    """Record that an answer counts no more; it stays in the ledger."""
    with session_scope(loop.ledger, read_only=True) as session:
        sequence = next_sequence(session)
    record = replace(
        record_of_row(row),
        updated_at=(row.updated_at + _TICK).isoformat(),
        verdict=Verdict.WITHDRAWN.value,
        why=why,
        corrected_pixels=None,
        mask_sha256=None,
        ground_truth=False,
        sequence=sequence,
    )
    keep_record(loop, record)


def keep_record(loop: Loop, record: AnnotationRecord) -> None:
    """Into the inbox, then into the ledger, which never points to something that is not there."""
    write_record(loop.root, record)
    with session_scope(loop.ledger) as session:
        recorded = record_annotation(session, **record.facts())
    if recorded.is_new:
        why = f" ({record.why})" if record.why else ""
        loop.log(f"{record.item_id}: {record.verdict} by {record.annotator}{why}")


def absorb_inbox(loop: Loop) -> None:
    """Records that a killed collect wrote and did not put into the ledger."""
    with session_scope(loop.ledger, read_only=True) as session:
        expected = next_sequence(session)
    for record in read_records(loop.root, []):
        if record.sequence is not None and record.sequence >= expected:
            keep_record(loop, record)


def _keep(
    loop: Loop, project: Project, pulled: PulledAnnotation, item_id: str, known: Collected
) -> None:
    with session_scope(loop.ledger, read_only=True) as session:
        before = find_annotation(
            session,
            tool_annotation_id=pulled.annotation_id,
            updated_at=pulled.updated_at,
            raw_sha256=raw_digest(pulled.result),
        )
        item = find_query_item(session, item_id)
        asked = Question(
            item_id=item_id,
            sample=known.inputs.samples[sample_of(item_id)],
            classes=known.inputs.params.classes,
            pre_annotation=pre_annotation(session, item_id) or [],
            regions=boxes_of(item) if item else (),
            background=known.inputs.background(loop, item) if item else None,
            corrects=corrected_by(loop.workspace, item) if item else False,
        )
        sequence = next_sequence(session)
    updated_at = pulled.updated_at
    if before is not None:
        # Judged once: a later version of the decoder must not contradict what is recorded.
        if pulled.annotation_id in known.lost:
            _bring_back(loop, project, pulled, before, asked)
        if not known.is_withdrawn(pulled.annotation_id):
            return
        updated_at = known.newest[pulled.annotation_id].updated_at + _TICK  # it is back in the tool
    record = judge(loop, project, pulled, asked)
    keep_record(loop, replace(record, updated_at=updated_at.isoformat(), sequence=sequence))


def _bring_back(
    loop: Loop, project: Project, pulled: PulledAnnotation, row: Annotation, asked: Question
) -> None:
    """Mask and record of a version that was collected before, into the inbox they are gone from."""
    if row.mask_sha256:
        keep_mask(loop.root, decode(loop, pulled, asked).mask_HW)
    if not has_record(loop.root, row):
        loop.log(
            f"{row.item_id}: the record of annotation {row.tool_annotation_id} was gone; kept again"
        )
        record = record_of_row(
            row, project_id=project.project_id, task_id=pulled.task_id, result=pulled.result
        )
        write_record(loop.root, record)
