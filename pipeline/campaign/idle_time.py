"""Idle time of annotators: how long people had no open question in a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class PublishedQuery:
    """A query, and the answers that were given to it."""

    at: datetime
    """When it was published."""
    size: int
    """Questions in it."""
    answered: tuple[datetime, ...]
    """When each question was answered for the first time; at most `size`."""


@dataclass(frozen=True, kw_only=True)
class IdleTime:
    """Between the first query and the last answer or query, whichever came later."""

    idle_minutes: float
    """Without an open question."""
    minutes: float
    """In all."""

    @property
    def share(self) -> float:
        """Idle of all, in [0, 1]; 0 where nothing has passed."""
        return self.idle_minutes / self.minutes if self.minutes else 0.0


def idle_time(queries: Sequence[PublishedQuery]) -> IdleTime | None:
    """Of one campaign; None before anything was asked.

    An answer that the annotation tool's clock dates before its query counts as given with it.
    """
    if not queries:
        return None
    changes = [(query.at, query.size) for query in queries]
    changes += [(max(at, query.at), -1) for query in queries for at in query.answered]
    # What is asked before what is answered in the same moment: nobody waits for no time.
    changes.sort(key=lambda change: (change[0], -change[1]))
    idle, open_now = timedelta(), 0
    for (at, change), (following, _) in pairwise(changes):
        open_now += change
        if open_now <= 0:
            idle += following - at
    whole = changes[-1][0] - changes[0][0]
    return IdleTime(idle_minutes=idle.total_seconds() / 60, minutes=whole.total_seconds() / 60)
