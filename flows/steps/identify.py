"""Identify: a workspace of an older version gets the id that newer ones have from `init`."""

from __future__ import annotations

from db.repository import events
from db.session import session_scope
from flows.loop import Loop
from flows.workspace.identity import new_identity, read_identity
from pipeline import layout


def identify(loop: Loop) -> None:
    """Write and commit workspace.json where there is none; a kill in between is made good.

    One that `restore` made says so in its ledger: the projects in it are its origin's.
    """
    if read_identity(loop.root) is None:
        with session_scope(loop.ledger, read_only=True) as session:
            restored = [event.subject for event in events(session, kind="restored")]
        new_identity(loop.root, restored_from=restored[-1] if restored else "")
    if not loop.workspace.exists_at("HEAD", layout.WORKSPACE):
        loop.workspace.commit([layout.WORKSPACE], "An id for this workspace")
