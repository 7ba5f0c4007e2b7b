"""Answers that a review doubts: said on their tasks, which the tab Review lists."""

from __future__ import annotations

from collections.abc import Mapping

from db.repository import latest_accepted
from db.session import session_scope
from flows.annotators.label_studio_project import DISAGREEMENT, RETURNED, REVIEW
from flows.answers.holdings import holdings
from flows.answers.send_back import asked_reason
from flows.loop import Loop


def mark_for_review(loop: Loop, domain: str, doubts: Mapping[str, str]) -> int:
    """Say on the tasks of a domain what is doubted; how many say so now.

    `doubts` is `sample_id -> what`. Tasks that an earlier review marked and this one does not are
    as before. What was sent back or differs between two people says that, and not this.
    """
    project = loop.known_project(domain, loop.read_params().classes)
    if project is None:
        return 0
    with session_scope(loop.ledger, read_only=True) as session:
        items = {
            row.item_id: sample_id
            for sample_id, row in latest_accepted(session, domain).items()
            if sample_id in doubts
        }
    marked = 0
    for item_id, tasks in holdings(loop, domain, project).tasks.items():
        for task in tasks:
            if "yes" in (task.data.get(RETURNED), task.data.get(DISAGREEMENT)):
                continue
            if item_id not in items and not task.data.get(REVIEW):
                continue
            reason = asked_reason(loop, item_id)
            wanted = {"reason": reason, REVIEW: ""}
            if item_id in items:
                marked += 1
                said = f"LOOK AGAIN: {doubts[items[item_id]]}. Right as it is? Leave it. ({reason})"
                wanted = {"reason": said, REVIEW: "yes"}
            if not wanted.items() <= task.data.items():
                loop.annotator.note(task, wanted)
    return marked
