"""One tick: look at the evidence, do what is missing, return where the loop waits.

The loop itself and nothing else. Each step is called through `run`, so that the flow can make a
Prefect task of it while tests and `ssl-loop run --local` call it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from db.repository import find_event
from db.session import session_scope
from flows.answers.unmerged import unmerged
from flows.domains.incoming import waiting
from flows.guards.painted_guard import require_painted_classes
from flows.guards.refusals import require_own_commits, require_own_data, require_sound
from flows.ledger.records import advice_at, closed_key
from flows.loop import Loop
from flows.steps.collect import collect, collect_late
from flows.steps.finish import ended, finish
from flows.steps.identify import identify
from flows.steps.merge import merge
from flows.steps.publish import publish, query_of
from flows.steps.push import push
from flows.steps.reproduce import ensure_recorded, reproduce_stage, seal_round, stages
from flows.steps.take_in import take_in
from flows.verify import verify
from flows.versions.pushes import last_failure, unpushed
from flows.views.round_report import render_again
from flows.workspace.position import Position, ingest_tag
from pipeline.campaign.stopping import why_finished
from pipeline.errors import WorkspaceError

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
        require_sound(loop)
        require_painted_classes(loop)
        identify(loop)
        tried = _push(loop, run, tried=[])
        while True:
            require_own_commits(loop)  # people may commit at any time
            said = _advance(loop, run)
            tried = _push(loop, run, tried)
            if said is not None:
                _look(loop)
                loop.log(said)
                return said


def _look(loop: Loop) -> None:
    """What a tick leaves has to be sound; in the cheap form, without a word where it is."""
    for one in verify(loop, quick=True).findings:
        loop.log(f"NOT AS IT MUST BE, {one.invariant}: {one.where}: {one.what} -> {one.remedy}")


def _advance(loop: Loop, run: Run) -> str | None:
    """One step forward; a line of text when there is none to take."""
    here = loop.position()
    arriving = _arriving(loop, here)
    for domain, last in ended(loop, here, over=_over(loop, here, arriving)):
        run(finish, loop, domain, last, name=f"finish:{domain}")
    if arriving:
        run(take_in, loop, arriving, name=f"take-in:{arriving}")
        return None
    if here is None:
        return "nothing to do: no domain yet; `ssl-loop domain add NAME --images DIR`"
    if not here.computed:
        require_own_data(loop)
        for stage in stages():
            run(reproduce_stage, loop, here, stage, name=f"dvc:{stage}")
        run(seal_round, loop, here, name=f"seal:{here.tag}")
        return None
    ensure_recorded(loop, here)
    if not query_of(loop, here):
        run(collect_late, loop, name="collect-late")
        why = why_finished(advice_at(loop.workspace, here.tag))
        return f"finished {here.domain}: {why}, at {here.tag}{_late(loop)}"
    run(publish, loop, here, name=f"publish:{here.tag}")
    progress = run(collect, loop, here, name=f"collect:{here.tag}")
    if not progress.settled:
        return f"waiting {progress} ({here.tag})"
    require_own_data(loop)
    run(merge, loop, here, name=f"merge:{here.labels_tag}")
    return None


def _late(loop: Loop) -> str:
    """What came after the campaign ended."""
    count = len(unmerged(loop))
    return f"; {count} answer(s) came late and wait for the next merge" if count else ""


def _push(loop: Loop, run: Run, tried: list[str]) -> list[str]:
    """Tags that wait to be pushed; `tried` ones are the next tick's, for a round must not wait."""
    tags = unpushed(loop)
    if tags and tags != tried:
        told = last_failure(loop, tags)
        try:
            run(push, loop, tags, name=f"push:{tags[-1]}")
        except WorkspaceError as error:
            loop.log(f"NOT PUSHED, {len(tags)} tag(s) are on this machine alone: {error}")
        tags = unpushed(loop)
        if tags or told:
            _tell(loop)
    return tags


def _tell(loop: Loop) -> None:
    """The report says what is not pushed, and no longer what is; one in the making will."""
    here = loop.position()
    if here and here.computed:
        render_again(loop)


def _over(loop: Loop, here: Position | None, arriving: str | None) -> bool:
    """The current domain's campaign ended: it asks nothing more, or another takes its place."""
    if here is None or arriving == here.domain:
        return False
    return arriving is not None or (here.computed and not query_of(loop, here))


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
