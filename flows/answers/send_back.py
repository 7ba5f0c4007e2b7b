"""Send back: an answer that cannot be read stays where it is, and its task says why.

The annotator sees the reason above the image and in a tab of its own, opens the answer, corrects
it and presses Update.
"""

from __future__ import annotations

from db.repository import (
    annotation_versions,
    find_query_item,
    item_states,
    record_event,
    rounds,
)
from db.session import session_scope
from db.tables import Annotation, ItemState, Verdict
from flows.annotators.annotator import ToolTask
from flows.annotators.label_studio_project import RETURNED
from flows.annotators.label_studio_tasks import shown_reason
from flows.answers.holdings import Holdings
from flows.ledger.records import background_of, boxes_of, corrected_by, returned_key
from flows.ledger.round_events import WHO
from flows.loop import Loop
from pipeline.ids import domain_of


def send_back(loop: Loop, domain: str, held: Holdings) -> None:
    """Say on a domain's tasks which answers could not be read, and take it back once they can.

    Of all rounds, since questions stay open while the next are asked. An item that was answered in
    one of several tasks says so in the others.
    """
    states: dict[str, ItemState] = {}
    with session_scope(loop.ledger, read_only=True) as session:
        for round_index in rounds(session, domain):
            states |= item_states(session, domain, round_index)
        versions = annotation_versions(session, domain)
    unreadable = {row.item_id: row for row in versions if row.verdict is Verdict.QUARANTINED}
    for item_id, state in states.items():
        for task in held.tasks.get(item_id, []):
            row = unreadable.get(item_id)
            if row is not None and row.tool_annotation_id not in task.versions:
                row = None
            _note(loop, task, row if not _is_readable(state) else None)
        _close_others(loop, held.tasks.get(item_id, []))


def _is_readable(state: ItemState) -> bool:
    return state not in (ItemState.QUARANTINED_ONCE, ItemState.QUARANTINED_TWICE)


def _note(loop: Loop, task: ToolTask, row: Annotation | None) -> None:
    if row is None and not task.data.get(RETURNED):
        return  # nothing was said, so nothing is taken back
    reason = asked_reason(loop, task.item_id)
    wanted = {"reason": reason, RETURNED: ""}
    if row is not None:
        wanted = {
            "reason": f"SENT BACK, since {row.why}. Open the answer, correct it and press Update. "
            f"({reason})",
            RETURNED: "yes",
        }
    if wanted.items() <= task.data.items():
        return
    loop.annotator.note(task, wanted)
    if row is not None:
        version = f"{row.tool_annotation_id}@{row.updated_at.isoformat()}"
        with session_scope(loop.ledger) as session:
            record_event(
                session,
                kind="returned",
                who=WHO,
                domain=domain_of(task.item_id),
                subject=f"{task.item_id} {version}",
                key=returned_key(task.item_id, version),
                detail={"why": row.why},
            )


def _close_others(loop: Loop, tasks: list[ToolTask]) -> None:
    """Of two tasks for one item the answered one counts; the other says that it may be skipped."""
    answered = next((task for task in tasks if task.versions), None)
    if answered is None:
        return
    for task in tasks:
        said = f"Already answered in task {answered.task_id}: skip this one, nothing is lost."
        if not task.versions and task.data.get("reason") != said:
            loop.annotator.note(task, {"reason": said})


def asked_reason(loop: Loop, item_id: str) -> str:
    """Why the image was asked for, as it stood above it at first."""
    with session_scope(loop.ledger, read_only=True) as session:
        item = find_query_item(session, item_id)
        if item is None:
            return ""
        return shown_reason(
            item.reason,
            boxes_of(item),
            background_of(loop.workspace, item),
            corrects=corrected_by(loop.workspace, item),
        )
