"""What was clicked for an item, into the ledger once it has an answer.

They are labels too: where on which thing people clicked, and how long a mask took. Each time an
item's answer was collected, what was clicked for it since the last time is one event.
"""

from __future__ import annotations

from dataclasses import asdict

from db.repository import annotation_versions, events, find_query_item, record_event
from db.session import session_scope
from flows.annotators.assist.click_log import Clicked, kept_clicks
from flows.ledger.round_events import WHO
from flows.loop import Loop
from pipeline.errors import SslLoopError
from pipeline.ids import domain_of

CLICKED = "clicked"  # the kind of these events
MOST = 500  # questions in one event, the newest: nobody asks as often about one image


def collect_clicks(loop: Loop, domain: str) -> None:
    """Record the clicks of a domain's items that have an answer; a fault is said, stops nothing."""
    try:
        kept = [one for one in kept_clicks(loop.root) if domain_of(one.item_id) == domain]
    except (SslLoopError, OSError) as error:
        loop.log(f"clicks are not collected: {error}")
        return
    if not kept:
        return
    with session_scope(loop.ledger, read_only=True) as session:
        answered = {row.item_id for row in annotation_versions(session, domain)}
        until = {
            event.subject: str(event.detail.get("until", ""))
            for event in events(session, kind=CLICKED, domain=domain)
        }
    new: dict[str, list[Clicked]] = {}
    for one in kept:
        if one.item_id in answered and one.at > until.get(one.item_id, ""):
            new.setdefault(one.item_id, []).append(one)
    for item_id, clicks in new.items():
        _record(loop, item_id, clicks)


def _record(loop: Loop, item_id: str, clicks: list[Clicked]) -> None:
    with session_scope(loop.ledger) as session:
        item = find_query_item(session, item_id)
        if item is None:
            return
        record_event(
            session,
            kind=CLICKED,
            who=WHO,
            domain=item.domain,
            round_index=item.round_index,
            subject=item_id,
            key=f"{CLICKED}/{item_id}/{clicks[0].at}",
            detail={
                "until": clicks[-1].at,
                "seconds": round(sum(one.seconds for one in clicks), 3),
                "clicks": [_without_item(one) for one in clicks[-MOST:]],
            },
        )
    loop.log(f"{item_id}: {len(clicks)} masks were asked for by click")


def _without_item(clicked: Clicked) -> dict[str, object]:
    return {key: value for key, value in asdict(clicked).items() if key != "item_id"}
