"""Which tags the remotes have, as the ledger noted it tag by tag and pair of addresses."""

from __future__ import annotations

import hashlib

from db.repository import events, record_event
from db.session import session_scope
from flows.ledger.round_events import WHO
from flows.loop import Loop
from flows.workspace.remote import Remote, redacted, remote
from pipeline.ids import domain_of

PUSHED, FAILED = "pushed", "push_failed"


def unpushed(loop: Loop) -> list[str]:
    """Tags of the loop that the remotes lack, oldest first; none where there is no remote."""
    to = remote(loop.workspace)
    if not to:
        return []
    with session_scope(loop.ledger, read_only=True) as session:
        sent = {event.key for event in events(session, kind=PUSHED)}
    domains = tuple(f"{domain}/" for domain in loop.read_params().domains)
    tags = [tag for tag in loop.workspace.tags_merged() if tag.startswith(domains)]
    return [tag for tag in tags if _key(PUSHED, to, tag) not in sent]


def last_failure(loop: Loop, tags: list[str]) -> str:
    """Why the newest of `tags` that was tried did not go; empty when none was."""
    to = remote(loop.workspace)
    keys = {_key(FAILED, to, tag) for tag in tags}
    with session_scope(loop.ledger, read_only=True) as session:
        said = [str(e.detail["why"]) for e in events(session, kind=FAILED) if e.key in keys]
    return said[-1] if said else ""


def note(loop: Loop, kind: str, to: Remote, tag: str, **detail: str) -> None:
    """Keep in the ledger that a tag was sent, or why it was not: `kind` is PUSHED or FAILED."""
    where = {"data": redacted(to.data or ""), "git": redacted(to.git or "")}
    with session_scope(loop.ledger) as session:
        record_event(
            session,
            kind=kind,
            who=WHO,
            domain=domain_of(tag),
            subject=tag,
            key=_key(kind, to, tag),
            detail=where | detail,
        )


def _key(kind: str, to: Remote, tag: str) -> str:
    """Once per tag and pair of addresses: another remote has nothing yet."""
    pair = hashlib.sha256(f"{to.data}\n{to.git}".encode()).hexdigest()
    return f"{kind}/{pair[:12]}/{tag}"
