"""The evidence that one step of a tick decides by, read once, and the campaign's state by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from db.session import session_scope
from flows.domains.incoming import MoreImages, more_images, waiting
from flows.ledger.records import advice_at, query_at
from flows.ledger.round_events import find_note
from flows.loop import Loop, position_in
from flows.rounds.reopening import answers_came, would_ask
from flows.workspace.position import Position, ingest_tag
from pipeline.campaign.stopping import Advice
from pipeline.records.query import QueryImage, by_image


class CampaignState(Enum):
    """What a campaign is at: the value says when. `campaign_state` is the only judge of it."""

    EMPTY = "there is no domain yet, and none waits"
    ARRIVING = "a domain is to be taken in, and no campaign ends for it"
    EXTENDING = "images wait to join their domain, and the round is not computed"
    COMPUTING = "the round is not computed"
    ASKING = "the round asks people, or merges what they answered"
    CLOSED = "people closed the last round and none is computed since: the next domain may come"
    ANSWERED = "the newest round asks nothing: the budget or the pool is spent, or a rule closed it"
    REOPENED = "the newest round asked nothing, and now there is to ask, or to learn from"
    SUPERSEDED = "the next domain takes its place"


ENDED = (CampaignState.ANSWERED, CampaignState.SUPERSEDED)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The evidence by which one step of a tick decides; nothing is read after it was made."""

    here: Position | None
    """The current domain and round; None before the first domain is taken in."""
    domains: tuple[str, ...]
    """Of params.yaml, in order of arrival."""
    tags: Mapping[str, str]
    """Reachable from HEAD, each with its commit."""
    query: tuple[QueryImage, ...]
    """What the computed round asks people for, as tagged, never the working copy; () before."""
    advice: Advice | None
    """What the computed round says about stopping."""
    closed: bool
    """People closed the round before one that is not computed."""
    reopened: bool
    """The computed round asks for nothing, and would ask for something now; or the last answers to
    what earlier rounds had asked for have come, or images that wait to join the domain."""
    waiting: tuple[str, ...]
    """Domains in .ssl-loop/incoming, first come first."""
    more: tuple[MoreImages, ...] = ()
    """What is in .ssl-loop/more to join domains, first come first."""

    @property
    def current(self) -> Position:
        """`here`, in the states of a campaign that there is."""
        assert self.here is not None
        return self.here

    @property
    def next_domain(self) -> str:
        """The domain to take in, where one waits."""
        return self.begun or self.waiting[0]

    @property
    def begun(self) -> str | None:
        """The domain whose taking in was killed after its tag."""
        return next((name for name in self.waiting if ingest_tag(name) in self.tags), None)


def read_situation(loop: Loop) -> Situation:
    """The evidence as it is now; WorkspaceError where tags that say it are missing."""
    params, tags = loop.read_params(), loop.workspace.tagged_commits()
    here = position_in(loop.workspace, params.domain, tags)
    computed = here is not None and here.computed
    advice = advice_at(loop.workspace, here.tag) if here and computed else None
    query = query_at(loop.workspace, here.tag, advice) if here and computed else []
    closed, reopened, more = False, False, more_images(loop.root)
    if here and not computed and here.round_index > 0:
        with session_scope(loop.ledger, read_only=True) as session:
            closed = find_note(session, "closed", here.domain, here.round_index - 1) is not None
    if here and computed and not query:
        stopped = advice is not None and advice.closes
        reopened = answers_came(loop, here) or (not stopped and would_ask(loop, here))
        reopened |= any(each.domain == here.domain for each in more)
    return Situation(
        here=here,
        domains=tuple(params.domains),
        tags=tags,
        query=tuple(by_image(query)),
        advice=advice,
        closed=closed,
        reopened=reopened,
        waiting=tuple(waiting(loop.root)),
        more=tuple(more),
    )


def campaign_state(now: Situation) -> CampaignState:
    """What the current domain's campaign is at."""
    if now.here is None:
        return CampaignState.ARRIVING if now.waiting else CampaignState.EMPTY
    if now.begun is not None:
        return CampaignState.ARRIVING if now.begun == now.here.domain else CampaignState.SUPERSEDED
    if now.here.computed:
        state = CampaignState.ASKING if now.query else CampaignState.ANSWERED
        if now.reopened:
            return CampaignState.REOPENED  # also before a domain that waits: shifting is for good
    else:
        state = CampaignState.CLOSED if now.closed else CampaignState.COMPUTING
    if now.waiting and state in (CampaignState.CLOSED, CampaignState.ANSWERED):
        return CampaignState.SUPERSEDED
    if now.more and state in (CampaignState.CLOSED, CampaignState.COMPUTING):
        return CampaignState.EXTENDING
    return state
