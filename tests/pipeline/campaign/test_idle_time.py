"""How long people had nothing to annotate, by queries and answers at known minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaign.idle_time import IdleTime, PublishedQuery, idle_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def asked(at: float, size: int, *answered: float) -> PublishedQuery:
    return PublishedQuery(at=minute(at), size=size, answered=tuple(map(minute, answered)))


def test_nothing_asked_is_no_campaign() -> None:
    assert idle_time([]) is None


def test_time_between_the_last_answer_and_the_next_query_is_idle() -> None:
    found = idle_time([asked(0, 2, 3, 4), asked(14, 1, 20)])
    assert found == IdleTime(idle_minutes=10, minutes=20)
    assert found.share == 0.5


def test_a_question_that_is_open_leaves_nobody_idle() -> None:
    assert idle_time([asked(0, 2, 3, 15), asked(14, 1, 20)]) == IdleTime(idle_minutes=0, minutes=20)
    assert idle_time([asked(0, 2, 3), asked(14, 1, 20)]) == IdleTime(idle_minutes=0, minutes=20)


def test_answer_dated_before_its_query_counts_as_given_with_it() -> None:
    found = idle_time([asked(5, 1, 2), asked(9, 1, 10)])
    assert found == IdleTime(idle_minutes=4, minutes=5)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.lists(st.integers(0, 60), max_size=4), st.integers(0, 2)),
        min_size=1,
        max_size=4,
    )
)
def test_it_is_the_count_of_minutes_in_which_no_question_is_open(
    drawn: list[tuple[int, list[int], int]],
) -> None:
    queries = [
        asked(at, len(after) + more, *(at + each for each in after)) for at, after, more in drawn
    ]
    found = idle_time(queries)
    ends = [query.at for query in queries] + [at for query in queries for at in query.answered]
    first, last = ((end - START).total_seconds() / 60 for end in (min(ends), max(ends)))
    idle = 0
    for number in range(round(first), round(last)):
        middle = minute(number + 0.5)
        there = sum(query.size for query in queries if query.at < middle)
        idle += there == sum(at < middle for query in queries for at in query.answered)
    assert found is not None
    assert found.minutes == pytest.approx(last - first)
    assert found.idle_minutes == pytest.approx(idle)
