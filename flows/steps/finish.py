"""Finish: a campaign that ended is tagged `<domain>/final` at its last computed round."""

from __future__ import annotations

from collections.abc import Mapping

from flows.loop import Loop
from flows.situation import ENDED, Situation, campaign_state
from flows.workspace.position import final_tag, final_tags, round_tags


def ended(now: Situation) -> dict[str, str]:
    """`domain -> tag of its last computed round` of campaigns that ended and are not tagged so.

    Every domain but the current one has ended, since each was left for the next.
    """
    last = {domain: tag for domain, _, tag in round_tags(now.domains, now.tags)}
    if now.here is not None and campaign_state(now) not in ENDED:
        last.pop(now.here.domain, None)
    return {domain: tag for domain, tag in last.items() if not _is_final(domain, tag, now.tags)}


def finish(loop: Loop, domain: str, last: str) -> None:
    """Name the models that a domain ends with; again is fine."""
    tags = loop.workspace.tagged_commits()
    if not _is_final(domain, last, tags):
        name = final_tag(domain, len(final_tags(domain, tags)) + 1)
        loop.workspace.tag(name, f"the campaign of {domain} ended with {last}", at=last)


def _is_final(domain: str, last: str, tags: Mapping[str, str]) -> bool:
    """Whether one of the campaign's ends is named at the round's commit."""
    return any(tags[name] == tags[last] for name in final_tags(domain, tags))
