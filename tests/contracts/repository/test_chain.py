"""Events are chained, also those of two writers; what is changed afterwards is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from db.repository import chain_head, events, first_break, record_event
from db.session import Ledger, session_scope


def told(ledger: Ledger, *subjects: str) -> None:
    for subject in subjects:
        with session_scope(ledger) as session:
            record_event(
                session, kind="said", who="me", subject=subject, detail={"a": [1.5, "\ud800"]}
            )


def by_hand(ledger: Ledger, statement: str) -> None:
    with ledger.engine.connect().execution_options(ledger_migration=True) as connection:
        connection.execute(text(statement))
        connection.commit()


def broken(ledger: Ledger) -> tuple[str, str] | None:
    with session_scope(ledger, read_only=True) as session:
        found = first_break(events(session))
    return found and (found.key, found.what.split(":")[0])


def test_a_chain_is_whole_and_its_head_moves(ledger: Ledger) -> None:
    told(ledger, "one")
    with session_scope(ledger, read_only=True) as session:
        before = chain_head(session)
    told(ledger, "two", "two", "three")
    with session_scope(ledger, read_only=True) as session:
        rows = events(session)
        assert [row.subject for row in rows] == ["one", "two", "three"]
        assert rows[0].sha256 == before == rows[1].previous_sha256
        assert chain_head(session) == rows[-1].sha256
    assert broken(ledger) is None


def test_times_of_any_zone_and_keys_that_are_no_text_are_read_back_the_same(ledger: Ledger) -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    with session_scope(ledger) as session:
        record_event(session, kind="k", who="w", at=at, detail={1: (2, 3)})  # type: ignore[dict-item]
    with session_scope(ledger, read_only=True) as session:
        assert events(session)[0].at == at.astimezone(UTC)
    assert broken(ledger) is None


@pytest.mark.parametrize(
    ("statement", "key", "what"),
    [
        ("UPDATE event SET who = 'you' WHERE subject = 'two'", "said:two", "is not as it was"),
        ("UPDATE event SET detail = '{}' WHERE subject = 'two'", "said:two", "is not as it was"),
        ("DELETE FROM event WHERE subject = 'two'", "said:three", "does not follow"),
        ("DELETE FROM event WHERE subject = 'one'", "said:two", "does not follow"),
        ("UPDATE event SET sha256 = 'x' WHERE subject = 'one'", "said:one", "is not as it was"),
    ],
)
def test_the_first_broken_row_is_named(ledger: Ledger, statement: str, key: str, what: str) -> None:
    told(ledger, "one", "two", "three")
    by_hand(ledger, statement)
    found = broken(ledger)
    assert found is not None
    assert found[0] == key
    assert found[1].startswith(what)


def test_writers_take_turns(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: told(ledger, *(f"{n}-{i}" for i in range(8))), range(4)))
    with session_scope(ledger, read_only=True) as session:
        assert len(events(session)) == 32
    assert broken(ledger) is None
