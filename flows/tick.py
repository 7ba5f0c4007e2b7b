"""One tick: look at the evidence, do what is missing, return where the loop waits.

The loop itself and nothing else: `NEXT` says what is done in each state of a campaign. The steps
come in a record, so that the flow can hand over Prefect tasks in their place; tests and
`ssl-loop run --local` call them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from db.session import session_scope
from flows.answers.unmerged import unmerged
from flows.domains.incoming import MoreImages
from flows.guards.painted_guard import require_painted_classes
from flows.guards.refusals import require_own_commits, require_own_data, require_sound
from flows.loop import Loop
from flows.rounds.encoder_start import choose_weights
from flows.rounds.open_questions import open_questions
from flows.rounds.round_plan import choose_plan
from flows.rounds.round_progress import QueryProgress
from flows.situation import CampaignState, Situation, campaign_state, read_situation
from flows.steps.collect import collect, collect_late
from flows.steps.finish import ended, finish
from flows.steps.identify import identify
from flows.steps.merge import merge
from flows.steps.publish import publish
from flows.steps.push import push
from flows.steps.reproduce import ensure_recorded, reproduce_stage, seal_round, stages
from flows.steps.take_in import take_in
from flows.steps.take_more import take_more
from flows.verify import verify
from flows.versions.pushes import last_failure, unpushed
from flows.views.round_report import render_again
from flows.workspace.position import Position
from pipeline.campaign.spending import spending
from pipeline.campaign.stopping import why_finished
from pipeline.errors import WorkspaceError
from pipeline.records.query import QueryImage


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps of a tick, as functions or as whatever runs them."""

    take_in: Callable[[Loop, str], None]
    take_more: Callable[[Loop, MoreImages], None]
    reproduce_stage: Callable[[Loop, Position, str], None]
    seal_round: Callable[[Loop, Position], None]
    publish: Callable[[Loop, Position, tuple[QueryImage, ...]], None]
    collect: Callable[[Loop, Position], QueryProgress]
    collect_late: Callable[[Loop], None]
    merge: Callable[[Loop, Position], int]
    finish: Callable[[Loop, str, str], None]
    push: Callable[[Loop, list[str]], None]


STEPS = Steps(
    take_in=take_in,
    take_more=take_more,
    reproduce_stage=reproduce_stage,
    seal_round=seal_round,
    publish=publish,
    collect=collect,
    collect_late=collect_late,
    merge=merge,
    finish=finish,
    push=push,
)


def tick(loop: Loop, steps: Steps = STEPS) -> str:
    """Carry the loop on as far as it goes without people; returns one line for people.

    Raises WorkspaceError when another tick holds the lock, or when HEAD is not the workspace's
    branch; ServiceError when the annotation tool is down. Nothing is lost by either.
    """
    with loop.workspace.lock():
        loop.workspace.require_clean_branch()
        require_sound(loop)
        require_painted_classes(loop)
        identify(loop)
        tried = _push(loop, steps, tried=[])
        while True:
            require_own_commits(loop)  # people may commit at any time
            said = _advance(loop, steps)
            tried = _push(loop, steps, tried)
            if said is not None:
                _look(loop)
                loop.log(said)
                return said


def _look(loop: Loop) -> None:
    """What a tick leaves has to be sound; in the cheap form, without a word where it is."""
    for one in verify(loop, quick=True).findings:
        loop.log(f"NOT AS IT MUST BE, {one.invariant}: {one.where}: {one.what} -> {one.remedy}")


def _advance(loop: Loop, steps: Steps) -> str | None:
    """One step forward; a line of text when there is none to take."""
    now = read_situation(loop)
    for domain, last in ended(now).items():
        steps.finish(loop, domain, last)
    return NEXT[campaign_state(now)](loop, steps, now)


def _wait_for_images(loop: Loop, steps: Steps, now: Situation) -> str:
    return "nothing to do: no domain yet; `ssl-loop domain add NAME --images DIR`"


def _take_in(loop: Loop, steps: Steps, now: Situation) -> None:
    steps.take_in(loop, now.next_domain)


def _extend(loop: Loop, steps: Steps, now: Situation) -> None:
    require_own_data(loop)
    steps.take_more(loop, now.more[0])


def _compute(loop: Loop, steps: Steps, now: Situation) -> None:
    require_own_data(loop)
    choose_plan(loop)
    choose_weights(loop)
    for stage in stages():
        steps.reproduce_stage(loop, now.current, stage)
    steps.seal_round(loop, now.current)


def _ask(loop: Loop, steps: Steps, now: Situation) -> str | None:
    here = now.current
    ensure_recorded(loop, here)
    steps.publish(loop, here, now.query)
    progress = steps.collect(loop, here)
    if not progress.settled:
        return f"waiting {progress} ({here.tag}){_next_one(loop, now)}"
    _merge(loop, steps, here)
    return None


def _merge(loop: Loop, steps: Steps, here: Position) -> None:
    require_own_data(loop)
    steps.merge(loop, here)


def _next_one(loop: Loop, now: Situation) -> str:
    """How a domain that waits gets its turn, where nothing but people brings that about."""
    if not now.waiting or loop.read_params().budget(now.current.domain) is not None:
        return ""
    return f"; {now.waiting[0]} waits, and no budget ends this domain: `ssl-loop round close` does"


def _rest(loop: Loop, steps: Steps, now: Situation) -> str:
    here = now.current
    _collect_late(loop, steps, here)
    spent = spending(loop.workspace.manifest(), loop.read_params(), here.domain)
    why = why_finished(now.advice, spent)
    return f"finished {here.domain} at {here.tag}: {why}{_late(loop, here)}"


def _reopen(loop: Loop, steps: Steps, now: Situation) -> None:
    """Merge the round that asked for nothing, with the answers that came late: the next may ask."""
    loop.log(f"{now.current.domain} goes on after {now.current.tag}: there is to ask again")
    _collect_late(loop, steps, now.current)
    _merge(loop, steps, now.current)


def _collect_late(loop: Loop, steps: Steps, here: Position) -> None:
    ensure_recorded(loop, here)
    steps.collect_late(loop)


def _late(loop: Loop, here: Position) -> str:
    """What came after the campaign ended, and what may still come."""
    with session_scope(loop.ledger, read_only=True) as session:
        left = len(open_questions(session, here.domain))
    count = len(unmerged(loop))
    said = f"; {count} answer(s) came late and wait for the next merge" if count else ""
    if left:
        said += f"; {left} question(s) are open, and with the last answer it goes on (`ssl-loop "
        said += "round close`: without)"
    return said


NEXT: dict[CampaignState, Callable[[Loop, Steps, Situation], str | None]] = {
    CampaignState.EMPTY: _wait_for_images,
    CampaignState.ARRIVING: _take_in,
    CampaignState.EXTENDING: _extend,
    CampaignState.COMPUTING: _compute,
    CampaignState.ASKING: _ask,
    CampaignState.CLOSED: _compute,
    CampaignState.ANSWERED: _rest,
    CampaignState.REOPENED: _reopen,
    CampaignState.SUPERSEDED: _take_in,
}


def _push(loop: Loop, steps: Steps, tried: list[str]) -> list[str]:
    """Tags that wait to be pushed; `tried` ones are the next tick's, for a round must not wait."""
    tags = unpushed(loop)
    if tags and tags != tried:
        told = last_failure(loop, tags)
        try:
            steps.push(loop, tags)
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
