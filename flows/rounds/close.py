"""`ssl-loop round close`: people decide that a round has waited long enough."""

from __future__ import annotations

import getpass

from db.session import session_scope
from flows.ledger.records import asked_at
from flows.ledger.round_events import note
from flows.loop import Loop
from flows.rounds.open_questions import open_questions
from flows.workspace.position import Position
from pipeline.errors import WorkspaceError


def close_round(loop: Loop) -> str:
    """What the next tick will do; WorkspaceError when there is nothing to close."""
    here = loop.require_position()
    if not here.computed:
        raise WorkspaceError(f"{here.tag} is not computed yet, so it asks nobody; nothing to close")
    if not asked_at(loop.workspace, here.tag):
        return _close_earlier(loop, here)
    with session_scope(loop.ledger) as session:
        is_new = note(session, "closed", here.domain, here.round_index, who=getpass.getuser())
    again = "" if is_new else " (it was closed before)"
    return f"{here.tag} is closed{again}: the next tick merges the answers that are there"


def _close_earlier(loop: Loop, here: Position) -> str:
    """Give up what earlier rounds left open, which a campaign's end waits for."""
    with session_scope(loop.ledger) as session:
        left = open_questions(session, here.domain)
        for round_index in {item.round_index for item in left}:
            note(session, "closed", here.domain, round_index, who=getpass.getuser())
        count = len(left)
    if not count:
        raise WorkspaceError(
            f"{here.tag} asks for nothing, so nobody is waited for; nothing to close"
        )
    return f"{count} open question(s) are not waited for any more: the next tick merges the others"
