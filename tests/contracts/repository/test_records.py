"""What is recorded twice, and what is refused, on every database the ledger can live in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db import repository as ledger_repository
from db.ledger_errors import LedgerConflictError
from db.session import Ledger, session_scope
from tests.contracts.repository.recording import (
    add_query,
    add_samples,
    answer,
    prepare,
    record_checkpoint,
    record_event,
    record_measurement,
    record_task,
)

# What is recorded, and the same key with other content.
RECORDS: list[tuple[Callable[..., bool], dict[str, Any]]] = [
    (add_samples, {"sha256": "other"}),
    (add_query, {"score": 0.26}),
    (add_query, {"reason": "another"}),
    (add_query, {"source": "audit"}),
    (add_query, {"regions": [[0, 0, 8, 8]]}),
    (add_query, {"expected_minutes": 2.0}),
    (record_task, {"pre_annotation": [{"id": "r2"}]}),
    (record_checkpoint, {"weights_sha256": "other"}),
    (record_checkpoint, {"trained_on": {}}),
    (record_measurement, {"value": 0.51}),
    (lambda session, **changes: answer(session, **changes).is_new, {"annotator": "bo"}),
    (lambda session, **changes: answer(session, **changes).is_new, {"item_id": "day/b/r0"}),
    (lambda session, **changes: answer(session, **changes).is_new, {"verdict": "skipped"}),
    (lambda session, **changes: record_event(session, key="k", **changes), {"subject": "embed"}),
]


@pytest.mark.parametrize(("record", "changes"), RECORDS)
def test_the_same_fact_twice_is_one_row_and_another_is_refused(
    ledger: Ledger, record: Callable[..., bool], changes: dict[str, Any]
) -> None:
    with session_scope(ledger) as session:
        prepare(session)
        assert record(session)
        assert not record(session)
    with session_scope(ledger) as session:  # and after a commit, from another session
        before = ledger_repository.facts(session)
        assert not record(session)
        assert ledger_repository.facts(session) == before
        with pytest.raises(LedgerConflictError, match="already recorded with other content"):
            record(session, **changes)


def test_preparing_twice_changes_nothing(session: Session) -> None:
    before = ledger_repository.facts(session)
    prepare(session)
    assert ledger_repository.facts(session) == before


def test_checkpoints_come_in_order(session: Session) -> None:
    for domain in ("zoo", "dusk"):
        prepare(session, domain)
    for domain, kind in itertools.product(("dusk", "zoo", "day"), ("teacher", "baseline")):
        record_checkpoint(session, domain=domain, kind=kind)
    expected = list(itertools.product(("day", "zoo", "dusk"), ("baseline", "teacher")))
    found = ledger_repository.checkpoints(session)
    assert [(row.domain, row.kind) for row in found] == expected
    assert ledger_repository.checkpoints(session, "zoo")[0].trained_on == {"day/a": "mask-a"}


def test_an_event_said_again_by_another_process_is_the_same(session: Session) -> None:
    assert record_event(session, who="tick 1", detail={"seconds": 3.0})
    assert not record_event(session, who="tick 2", detail={"seconds": 4.0})
    assert record_event(session, subject="evaluate")
    assert record_event(session, round_index=1)
    assert record_event(session, domain=None, round_index=None, subject="")
    first = ledger_repository.events(session, "stage.completed", "day")[0]
    assert (first.key, first.who) == ("stage.completed:day/r0:predict", "tick 1")
    assert first.detail == {"seconds": 3.0}
    assert ledger_repository.find_event(session, first.key) is first
    assert ledger_repository.find_event(session, "stage.completed:day/r9:predict") is None
    assert len(ledger_repository.events(session)) == 4
    assert ledger_repository.events(session, "other") == []
