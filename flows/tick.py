"""One tick: look at the evidence, do what is missing, return where the loop waits.

The loop itself and nothing else. Each step is called through `run`, so that the flow can make a
Prefect task of it while tests and `ssl-loop run --local` call it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db.repository import find_event
from db.session import session_scope
from flows.loop import Loop
from flows.position import Position, ingest_tag
from flows.records import advice_at, closed_key
from flows.steps.collect import collect
from flows.steps.merge import merge
from flows.steps.publish import publish, query_of
from flows.steps.reproduce import ensure_recorded, reproduce_stage, seal_round, stages
from flows.steps.take_in import take_in, waiting
from pipeline.stopping import why_finished

Run = Callable[..., Any]


def call(step: Callable[..., Any], *args: Any, name: str = "") -> Any:
    """Run a step as it is; `name` is what a Prefect task would be called."""
    return step(*args)


def tick(loop: Loop, run: Run = call) -> str:
    """Carry the loop on as far as it goes without people; returns one line for people.

    Raises WorkspaceError when another tick holds the lock, or when HEAD is not the workspace's
    branch; ServiceError when the annotation tool is down. Nothing is lost by either.
    """
    with loop.workspace.lock():
        loop.workspace.require_clean_branch()
        while True:
            said = _advance(loop, run)
            if said is not None:
                loop.log(said)
                return said


def _advance(loop: Loop, run: Run) -> str | None:
    """One step forward; a line of text when there is none to take."""
    here = loop.position()
    arriving = _arriving(loop, here)
    if arriving:
        run(take_in, loop, arriving, name=f"take-in:{arriving}")
        return None
    if here is None:
        return "nothing to do: no domain yet; `ssl-loop domain add NAME --images DIR`"
    if not here.computed:
        for stage in stages():
            run(reproduce_stage, loop, here, stage, name=f"dvc:{stage}")
        run(seal_round, loop, here, name=f"seal:{here.tag}")
        return None
    ensure_recorded(loop, here)
    if not query_of(loop, here):
        why = why_finished(advice_at(loop.workspace, here.tag))
        return f"finished {here.domain}: {why}, at {here.tag}"
    run(publish, loop, here, name=f"publish:{here.tag}")
    progress = run(collect, loop, here, name=f"collect:{here.tag}")
    if not progress.settled:
        return f"waiting {progress} ({here.tag})"
    run(merge, loop, here, name=f"merge:{here.labels_tag}")
    return None


def _arriving(loop: Loop, here: Position | None) -> str | None:
    """The domain to take in now: the rest of a take-in that was killed, or the next in line."""
    names = waiting(loop.root)
    if not names:
        return None
    tags = loop.workspace.tags_merged()
    begun = [name for name in names if ingest_tag(name) in tags]
    if begun or here is None or _done(loop, here):
        return (begun or names)[0]
    return None


def _done(loop: Loop, here: Position) -> bool:
    """The current domain has spent its budget, or people closed its last round."""
    if here.computed:
        return not query_of(loop, here)
    if here.round_index == 0:
        return False
    with session_scope(loop.ledger, read_only=True) as session:
        return find_event(session, closed_key(here.domain, here.round_index - 1)) is not None
