"""The annotation tool: one task per item, of this workspace, and its answers are the ledger's."""

from __future__ import annotations

from collections.abc import Iterator

from db.session import session_scope
from db.tables import Verdict
from flows.annotators.annotator import ToolStateError
from flows.answers.holdings import Holdings, holdings
from flows.ledger.domain_projects import sent_tasks
from flows.rounds.open_questions import open_questions, unanswered
from flows.verify.evidence import Evidence, Finding

_PUT_RIGHT = (
    "`ssl-loop labelstudio restore` puts back what the ledger has, `ssl-loop labelstudio adopt` "
    "takes what is there as right"
)


def tasks(evidence: Evidence) -> Iterator[Finding]:
    """Every open question of the current domain has one task in the tool, and nobody else claims
    it."""
    for domain, held in _held(evidence):
        if isinstance(held, Finding):
            yield held
            continue
        for task in held.foreign:
            yield Finding(
                where=f"task {task.task_id} of {held.project.url}",
                what=f"claims {task.item_id}, and is another workspace's or shows another image",
                remedy="delete it there, or `ssl-loop labelstudio adopt` if it is this workspace's",
            )
        here = evidence.position
        if here is None or not here.computed or here.domain != domain:
            continue
        with session_scope(evidence.loop.ledger, read_only=True) as session:
            left = unanswered(session, domain, here.round_index)
            names = {item.item_id for item in (*open_questions(session, domain), *left)}
        for item_id in sorted(names):
            number = len(held.tasks.get(item_id, ()))
            if number != 1:
                yield Finding(
                    where=item_id,
                    what=f"has {number} tasks in {held.project.url}",
                    remedy=_PUT_RIGHT if not number else "delete all but one there",
                )


def answers(evidence: Evidence) -> Iterator[Finding]:
    """Every answer in the tool is in the ledger as it is now, and the other way round."""
    for domain, held in _held(evidence):
        if isinstance(held, Finding):
            continue  # `tasks` says it
        known = {(row.tool_annotation_id, row.updated_at) for row in evidence.versions}
        newest = {row.tool_annotation_id: row for row in evidence.versions}
        for task in held.all:
            for number, moment in task.versions.items():
                if (number, moment) not in known:
                    yield Finding(
                        where=f"annotation {number} of {task.item_id}",
                        what="is in the tool as the ledger does not have it",
                        remedy="the next tick collects it (`ssl-loop run`)",
                    )
        there = held.annotation_ids
        for number, row in newest.items():
            gone = number > 0 and number not in there and row.verdict is not Verdict.WITHDRAWN
            if gone and row.item_id in held.tasks:
                yield Finding(
                    where=f"annotation {number} of {row.item_id}",
                    what=f"was collected in domain {domain} and is not in the tool any more",
                    remedy=f"the next tick takes it as withdrawn; {_PUT_RIGHT}",
                )


def _held(evidence: Evidence) -> Iterator[tuple[str, Holdings | Finding]]:
    """What the tool has of each domain that was asked for there."""
    loop = evidence.loop
    classes = loop.read_params().classes
    for domain in evidence.domains:
        if not sent_tasks(loop.ledger, domain):
            continue
        try:
            project = loop.known_project(domain, classes)
        except ToolStateError as error:
            yield domain, Finding(where=f"domain {domain}", what=str(error), remedy=_PUT_RIGHT)
            continue
        if project is not None:
            yield domain, holdings(loop, domain, project)
