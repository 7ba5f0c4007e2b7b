"""Equal facts are equal, whatever the database and the order."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from db import repository as ledger_repository
from db.session import Ledger, session_scope
from tests.contracts.repository.recording import (
    NOON,
    answer,
    prepare,
    record_event,
    record_measurement,
    record_project,
    record_task,
)
from tests.support.ledgers import new_target, open_ledger


def fill(session: Session) -> None:
    prepare(session)
    record_event(session, at=NOON)
    record_task(session)
    record_project(session)
    record_measurement(session)
    answer(session)
    answer(session, minute=3, corrected_pixels=5)
    answer(session, "day/b/r0", minute=2, tool_annotation_id=2, verdict="skipped")


def fill_otherwise(session: Session) -> None:
    """The same facts in another order, which gives other row ids, and by another clock."""
    prepare(session)
    answer(session, "day/b/r0", 2, tool_annotation_id=2, verdict="skipped", sequence=2)
    answer(session, sequence=0)
    answer(session, minute=3, corrected_pixels=5, sequence=1)
    record_measurement(session)
    record_task(session)
    record_project(session)
    record_event(session, at=NOON + timedelta(days=1))


def test_equal_facts_are_equal_whatever_their_order_or_database(
    ledger: Ledger, tmp_path: Any
) -> None:
    other = open_ledger(new_target("sqlite", tmp_path))
    with session_scope(ledger) as session, session_scope(other) as another:
        fill(session)
        fill_otherwise(another)
        mine, theirs = ledger_repository.facts(session), ledger_repository.facts(another)
        assert mine == theirs
        assert json.loads(json.dumps(mine)) == mine
        record_event(another, kind="one.more")
        assert mine != ledger_repository.facts(another)
    other.close()


def test_facts_hold_every_table_but_no_row_ids_nor_our_clock(session: Session) -> None:
    fill(session)
    found = ledger_repository.facts(session)
    assert all(found.values()), "the test should fill every table"
    assert len(found) == 10
    columns = {name for rows in found.values() for name in rows[0]}
    assert not columns & {"id", "collected_at", "at", "supersedes", "detail"}
    assert {"updated_at", "created_at", "raw_sha256", "trained_on"} <= columns
    moments = {row["updated_at"] for row in found["annotation"]}
    assert "2026-05-01T12:03:00+00:00" in moments
