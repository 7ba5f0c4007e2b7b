"""Finish: a campaign that ended is tagged `<domain>/final` at its last computed round."""

from __future__ import annotations

from flows.loop import Loop
from flows.situation import ENDED, Situation, campaign_state
from flows.workspace.position import final_tag, round_tags


def ended(now: Situation) -> dict[str, str]:
    """`domain -> tag of its last computed round` of campaigns that ended and are not tagged so.

    Every domain but the current one has ended, since each was left for the next.
    """
    last = {domain: tag for domain, _, tag in round_tags(now.domains, now.tags)}
    if now.here is not None and campaign_state(now) not in ENDED:
        last.pop(now.here.domain, None)
    return {domain: tag for domain, tag in last.items() if final_tag(domain) not in now.tags}


def finish(loop: Loop, domain: str, last: str) -> None:
    """Name the models that a domain ends with; again is fine."""
    loop.workspace.tag(final_tag(domain), f"the campaign of {domain} ended with {last}", at=last)
