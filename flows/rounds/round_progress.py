"""How far people are with a query, and when a round has waited long enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db.repository import events, query_items
from db.session import session_scope
from flows.answers.holdings import Given
from flows.ledger.round_events import find_note, note
from flows.loop import Loop
from flows.rounds.open_questions import goes_on, open_questions, unanswered
from flows.workspace.position import Position
from pipeline.campaign.spending import Spending
from pipeline.config.rounds import LoopParams

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
    enough: bool = False  # answers to go on with, by loop.close_at
    earlier: int = 0  # questions of earlier rounds that are open

    @property
    def settled(self) -> bool:
        """Nothing more to wait for."""
        return self.closed or self.enough or self.answered == self.total

    def __str__(self) -> str:
        said = f"{self.answered}/{self.total}: {self.open} open"
        if self.earlier:
            said += f" and {self.earlier} of earlier rounds"
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
    loop: Loop, here: Position, given: Given, rules: LoopParams, spent: Spending
) -> QueryProgress:
    """How far people are, by the ledger; a task that is not there settles nothing.

    What is left after `rules.round_timeout_h` is not waited for, nor what `rules.close_at` leaves
    open. `spent` is as the round began.
    """
    with session_scope(loop.ledger, read_only=True) as session:
        items = query_items(session, here.domain, here.round_index)
        left = unanswered(session, here.domain, here.round_index)
        open_now = open_questions(session, here.domain)
        closed = find_note(session, "closed", here.domain, here.round_index) is not None
        enough = goes_on(items, left, rules.close_at, spent)
        waiting = [item.item_id for item in left]
        earlier = sum(item.round_index < here.round_index for item in open_now)
    held, unreadable = given
    tasks = held.tasks if held else {}
    for task in held.foreign if held else ():
        loop.log(
            f"task {task.task_id} claims {task.item_id} but is of workspace "
            f"{task.workspace_id or 'none'} or of another image: left alone"
        )
    for task_id, why in unreadable.items():
        loop.log(f"task {task_id} is set aside: {why}")
    return QueryProgress(
        total=len(items),
        answered=len(items) - len(waiting),
        open=sum(item_id in tasks for item_id in waiting),
        missing=sum(item_id not in tasks for item_id in waiting),
        unreadable=(*unreadable, *(held.unlisted if held else ())),
        closed=closed or (bool(waiting) and not enough and _is_late(loop, here, rules)),
        enough=enough,
        earlier=earlier,
    )


def _is_late(loop: Loop, here: Position, rules: LoopParams) -> bool:
    """Whether the round is over its time, as seen twice some time apart by a clock that agrees."""
    now, timeout = datetime.now(UTC), timedelta(hours=rules.round_timeout_h)
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
