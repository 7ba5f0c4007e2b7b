"""Questions that nobody has answered and that are still open, whatever round asked them.

A round goes on with a share of its answers (`loop.close_at`). What is left stays in the annotation
tool, is not asked again meanwhile, and counts when it is answered. A round that people or its time
closed leaves nothing open: what it asked may be asked again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy.orm import Session

from db.repository import events, item_states, query_items, rounds
from db.tables import QueryItem
from flows.ledger.records import boxes_of, is_audit
from pipeline.campaign.spending import Spending

CLOSED = ("closed", "late")  # events of a round that waits for nobody any more


def open_questions(session: Session, domain: str) -> list[QueryItem]:
    """A domain's items without an answer, oldest round first, of rounds that are not closed."""
    closed = {event.round_index for kind in CLOSED for event in events(session, kind, domain)}
    return [
        item
        for round_index in rounds(session, domain)
        if round_index not in closed
        for item in unanswered(session, domain, round_index)
    ]


def unanswered(session: Session, domain: str, round_index: int) -> list[QueryItem]:
    """Items of one round without an answer, closed or not."""
    states = item_states(session, domain, round_index)
    items = query_items(session, domain, round_index)
    return [item for item in items if not states[item.item_id].settled]


def num_answers(item: QueryItem) -> int:
    """How many answers an item asks for: one for each region, or one for the image."""
    return len(boxes_of(item)) or 1


def open_answers(session: Session, domains: Iterable[str]) -> Counter[str]:
    """`sample_id -> answers` that people may still give."""
    found: Counter[str] = Counter()
    for domain in domains:
        for item in open_questions(session, domain):
            found[item.sample_id] += num_answers(item)
    return found


def goes_on(
    items: Sequence[QueryItem], left: Sequence[QueryItem], share: float, spent: Spending
) -> bool:
    """Whether a round that asked `items` goes on while `left` of them are open.

    It does with at least `share` of the answers, all random picks among them since they judge, and
    where another query follows: the last one is waited for. `spent` is as the round began.
    """
    if any(map(is_audit, left)) or not spent.may_ask_beyond(sum(map(num_answers, items))):
        return False
    return len(items) - len(left) >= math.ceil(share * len(items))
