"""What the database itself refuses, and what it gives back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from db import repository
from db.ledger_errors import LedgerError
from db.session import Ledger, session_scope
from db.tables import Event, ItemState

DELHI = timezone(timedelta(hours=5, minutes=30))
ANNOTATION = """
INSERT INTO annotation (item_id, tool_annotation_id, annotator, created_at, updated_at, raw_sha256,
                        mask_sha256, verdict, why, corrected_pixels, collected_at,
                        sequence, ground_truth)
VALUES ('day/a/r0', 1, 'ana', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 'raw',
        {mask}, '{verdict}', '{why}', {corrected}, '2026-01-01 00:00:00', 0, false)
"""
QUERY_ITEM = "INSERT INTO query_item VALUES ('day/b/r0', 'day', 0, 'day/b', NULL, {rest})"


@pytest.fixture
def asked(ledger: Ledger) -> Ledger:
    with session_scope(ledger) as session:
        repository.add_domain(session, name="day")
        repository.add_samples(session, domain="day", image_sha256={"day/a": "1", "day/b": "2"})
        repository.add_round(session, domain="day", round_index=0)
        row = repository.NewQueryItem(
            sample_id="day/a", rank=1, score=0.5, source="strategy", reason="entropy 0.50"
        )
        repository.upsert_query_items(session, "day", 0, [row])
    return ledger


def insert(ledger: Ledger, statement: str) -> None:
    with session_scope(ledger) as session:
        session.execute(text(statement))


def test_a_moment_comes_back_aware_in_utc(ledger: Ledger) -> None:
    written = datetime(2026, 3, 1, 12, 30, 5, 123456, tzinfo=DELHI)
    with session_scope(ledger) as session:
        repository.record_event(session, kind="test", who="me", at=written)
    with session_scope(ledger, read_only=True) as session:
        (event,) = repository.events(session)
        assert event.at == written
        assert event.at.utcoffset() == timedelta(0)
        assert event.at.isoformat() == "2026-03-01T07:00:05.123456+00:00"


def test_moments_are_ordered_as_moments_not_as_text(ledger: Ledger) -> None:
    early = datetime(2026, 3, 1, 12, tzinfo=DELHI)  # 06:30 UTC, though its clock shows more
    late = datetime(2026, 3, 1, 7, tzinfo=UTC)
    with session_scope(ledger) as session:
        for at in (late, early):
            repository.record_event(session, kind=at.isoformat(), who="me", at=at)
        found = session.query(Event.at).filter(Event.at > early).all()
        assert found == [(late,)]


def test_a_naive_moment_is_refused(ledger: Ledger) -> None:
    with (
        pytest.raises(StatementError, match="no time zone"),
        session_scope(ledger) as session,
    ):
        repository.record_event(session, kind="k", who="me", at=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("verdict", "mask", "why", "corrected"),
    [
        ("fine", "NULL", "", 0),  # not a verdict
        ("accepted", "NULL", "", 0),  # accepted without a mask
        ("skipped", "'hash'", "", 0),  # a mask that nobody gave
        ("quarantined", "NULL", "", 0),  # without a reason
        ("skipped", "NULL", "", -1),
    ],
)
def test_the_database_refuses_impossible_annotations(
    asked: Ledger, verdict: str, mask: str, why: str, corrected: int
) -> None:
    statement = ANNOTATION.format(verdict=verdict, mask=mask, why=why, corrected=corrected)
    with pytest.raises((DBAPIError, LedgerError)):
        insert(asked, statement)
    insert(asked, ANNOTATION.format(verdict="skipped", mask="NULL", why="", corrected=0))


@pytest.mark.parametrize(
    "rest",
    ["1.1, 2, 'strategy', '', NULL", "0.5, 0, 'audit', '', NULL", "0.5, 1, 'audit', '', NULL"],
    ids=["score above 1", "rank 0", "rank taken"],
)
def test_the_database_refuses_impossible_query_items(asked: Ledger, rest: str) -> None:
    with pytest.raises(IntegrityError):
        insert(asked, QUERY_ITEM.format(rest=rest))
    insert(asked, QUERY_ITEM.format(rest="0.5, 2, 'audit', '', NULL"))


def test_foreign_keys_hold(asked: Ledger) -> None:
    with pytest.raises(IntegrityError):
        insert(asked, "INSERT INTO round VALUES ('night', 0)")


def test_enums_are_types_of_their_own_on_postgresql(asked: Ledger) -> None:
    if asked.engine.dialect.name != "postgresql":
        statement = "SELECT sql FROM sqlite_master WHERE name = 'annotation'"
        expected = "CONSTRAINT ck_annotation_verdict CHECK (verdict IN ('accepted', 'skipped', "
    else:
        statement = "SELECT 'verdict: ' || array_to_string(enum_range(NULL::verdict), ', ')"
        expected = "verdict: accepted, skipped, quarantined, withdrawn"
    with session_scope(asked, read_only=True) as session:
        assert expected in session.scalar(text(statement))


@pytest.mark.parametrize("state", ItemState)
def test_which_states_are_settled(state: ItemState) -> None:
    assert state.settled == (state.value in {"accepted", "skipped", "quarantined_twice"})
