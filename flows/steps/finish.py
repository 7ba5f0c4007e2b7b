"""Finish: a campaign that ended is tagged `<domain>/final` at its last computed round."""

from __future__ import annotations

from flows.loop import Loop
from flows.workspace.position import Position, final_tag, round_tags


def ended(loop: Loop, here: Position | None, *, over: bool) -> list[tuple[str, str]]:
    """(domain, tag of its last computed round) of campaigns that ended and are not tagged so.

    Every domain but the current one has ended, since each was left for the next; the current one
    has when it is `over`.
    """
    tags = loop.workspace.tags_merged()
    last = {domain: tag for domain, _, tag in round_tags(loop.read_params().domains, tags)}
    if here is not None and not over:
        last.pop(here.domain, None)
    return [(domain, tag) for domain, tag in last.items() if final_tag(domain) not in tags]


def finish(loop: Loop, domain: str, last: str) -> None:
    """Name the models that a domain ends with; again is fine."""
    loop.workspace.tag(final_tag(domain), f"the campaign of {domain} ended with {last}", at=last)
