"""How far people are with a query, and when a round has waited long enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db.repository import events, item_states
from db.session import session_scope
from flows.answers.holdings import Holdings
from flows.ledger.round_events import find_note, note
from flows.loop import Loop
from flows.workspace.position import Position

# Seen late twice, so far apart: a clock that jumps for one tick closes no round.
LATE_AGAIN = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True)
class QueryProgress:
    """How far people are with a query."""

    total: int
    answered: int  # accepted or skipped, or given up after two unreadable answers
    open: int
    missing: int  # not answered, and without a task in the tool
    unreadable: tuple[int, ...] = ()  # tasks that the tool itself cannot give
    closed: bool  # by `round close` or by the timeout

    @property
    def settled(self) -> bool:
        """Nothing more to wait for."""
        return self.closed or self.answered == self.total

    def __str__(self) -> str:
        said = f"{self.answered}/{self.total}: {self.open} open"
        if self.missing:
            said += (
                f", {self.missing} missing from Label Studio (`ssl-loop labelstudio restore` puts "
                "them back, `ssl-loop round close` goes on without them)"
            )
        if self.unreadable:
            tasks = ", ".join(map(str, self.unreadable[:5]))
            said += f", {len(self.unreadable)} that Label Studio itself cannot give (task {tasks})"
        return said


def progress(
    loop: Loop,
    here: Position,
    held: Holdings | None,
    unreadable: Mapping[int, str],
    *,
    timeout: timedelta,
) -> QueryProgress:
    """How far people are, by the ledger; a task that is not there settles nothing.

    What is left after `timeout` is not waited for.
    """
    with session_scope(loop.ledger, read_only=True) as session:
        states = item_states(session, here.domain, here.round_index)
        closed = find_note(session, "closed", here.domain, here.round_index) is not None
    unanswered = [item_id for item_id, state in states.items() if not state.settled]
    tasks = held.tasks if held else {}
    for task in held.foreign if held else ():
        loop.log(
            f"task {task.task_id} claims {task.item_id} but is of workspace "
            f"{task.workspace_id or 'none'} or of another image: left alone"
        )
    for task_id, why in unreadable.items():
        loop.log(f"task {task_id} is set aside: {why}")
    return QueryProgress(
        total=len(states),
        answered=len(states) - len(unanswered),
        open=sum(item_id in tasks for item_id in unanswered),
        missing=sum(item_id not in tasks for item_id in unanswered),
        unreadable=(*unreadable, *(held.unlisted if held else ())),
        closed=closed or (bool(unanswered) and _is_late(loop, here, timeout)),
    )


def _is_late(loop: Loop, here: Position, timeout: timedelta) -> bool:
    """Whether the round is over its time, as seen twice some time apart by a clock that agrees."""
    now = datetime.now(UTC)
    with session_scope(loop.ledger) as session:
        published = find_note(session, "published", here.domain, here.round_index)
        if published is None or now - published.at <= timeout:
            return False
        seen = [
            event.at
            for event in events(session, kind="late", domain=here.domain)
            if event.round_index == here.round_index and event.at <= now
        ]
        if any(now - at >= LATE_AGAIN for at in seen):
            return True
        if not seen:
            subject = now.isoformat()
            note(session, "late", here.domain, here.round_index, subject=subject, at=now)
    loop.log(f"{here.tag} is over its {timeout}; a later tick that sees it too closes it")
    return False
