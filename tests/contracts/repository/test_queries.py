"""Domains, samples, rounds and queries, on every database the ledger can live in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from db import repository as ledger_repository
from db.ledger_errors import LedgerError
from db.session import Ledger, session_scope
from tests.contracts.repository.recording import (
    add_query,
    answer,
    prepare,
    record_checkpoint,
    record_measurement,
    record_project,
    record_task,
    row,
)


def test_domains_come_in_order_of_arrival(session: Session) -> None:
    for name in ("zoo", "dusk", "day"):
        ledger_repository.add_domain(session, name=name)
    assert ledger_repository.domains(session) == ["day", "zoo", "dusk"]


def test_rounds_have_no_gaps(session: Session) -> None:
    assert ledger_repository.rounds(session, "day") == [0, 1]
    with pytest.raises(LedgerError, match="the next one is 2"):
        ledger_repository.add_round(session, domain="day", round_index=3)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda s: ledger_repository.add_round(s, domain="night", round_index=0), "'night'"),
        (lambda s: ledger_repository.add_samples(s, domain="night", image_sha256={}), "'night'"),
        (
            lambda s: ledger_repository.add_samples(s, domain="day", image_sha256={"dusk/a": "x"}),
            "not of domain 'day'",
        ),
        (
            lambda s: ledger_repository.upsert_query_items(s, "day", 1, [row("nobody", 1)]),
            "'day/nobody'",
        ),
        (lambda s: add_query(s, source="hunch"), "expected one of strategy, audit, cold_start"),
        (lambda s: record_task(s, item_id="day/a/r9"), "record the query first"),
        (lambda s: answer(s, "day/a/r9"), "record the query first"),
        (lambda s: answer(s, verdict="fine"), "expected one of accepted, skipped, quarantined"),
        (lambda s: answer(s, mask_sha256=None), "accepted ones have one"),
        (lambda s: answer(s, verdict="skipped", mask_sha256="m"), "accepted ones have one"),
        (lambda s: answer(s, verdict="quarantined", why=""), "without a reason"),
        (lambda s: record_checkpoint(s, round_index=7), "add it first"),
        (lambda s: record_checkpoint(s, kind="student"), "expected one of baseline, teacher"),
        (lambda s: record_measurement(s, kind="baseline"), "record it first"),
        (lambda s: record_measurement(s, evaluated_domain="night"), "'night'"),
        (lambda s: record_measurement(s, value=float("nan")), "could not be measured"),
        (lambda s: record_measurement(s, split="pool"), "expected one of val, test"),
    ],
)
def test_bad_input_is_refused_in_words(
    session: Session, act: Callable[[Session], object], message: str
) -> None:
    before = ledger_repository.facts(session)
    with pytest.raises(LedgerError, match=message):
        act(session)
    kept = {**ledger_repository.facts(session), "checkpoint": before["checkpoint"]}
    assert kept == before


def test_a_query_comes_back_as_it_went_in_by_rank(ledger: Ledger) -> None:
    with session_scope(ledger) as session:
        prepare(session)
        given = [
            row("c", 2, score=1.0, source="audit", reason="drawn at random", expected_minutes=1.5),
            row("b", 1, score=0.123457, regions=[{"x": 1}]),
        ]
        assert ledger_repository.upsert_query_items(session, "day", 1, given) == 2
    with session_scope(ledger, read_only=True) as session:
        first, second = ledger_repository.query_items(session, "day", 1)
    assert (first.item_id, first.score, first.regions) == ("day/b/r1", 0.123457, [{"x": 1}])
    assert (second.item_id, second.regions, second.expected_minutes) == ("day/c/r1", None, 1.5)
    assert (second.source, second.reason) == ("audit", "drawn at random")


def test_a_query_cut_short_is_completed(session: Session) -> None:
    query = [row(stem, rank) for rank, stem in enumerate("abc", start=1)]
    assert ledger_repository.upsert_query_items(session, "day", 1, query[:2]) == 2
    assert ledger_repository.upsert_query_items(session, "day", 1, query) == 1


def test_the_newest_task_of_an_item_counts(session: Session) -> None:
    assert record_task(session)
    assert record_task(session, item_id="day/b/r0", task_id=6, pre_annotation=None)
    assert record_task(session, project_id=2, pre_annotation=[{"id": "again"}])
    tasks = ledger_repository.ls_tasks(session, "day", 0)
    assert {key: task.project_id for key, task in tasks.items()} == {"day/a/r0": 2, "day/b/r0": 1}
    assert ledger_repository.pre_annotation(session, "day/a/r0") == [{"id": "again"}]
    assert ledger_repository.pre_annotation(session, "day/b/r0") is None
    assert ledger_repository.ls_tasks(session, "day", 1) == {}


def test_a_task_without_prediction_is_still_recorded_once(session: Session) -> None:
    assert record_task(session, prediction_id=None)
    assert not record_task(session, prediction_id=None)  # NULL equals nothing in a UNIQUE


def test_an_earlier_prediction_can_still_be_read(session: Session) -> None:
    record_task(session)
    record_task(session, prediction_id=10, pre_annotation=[{"id": "second"}])
    assert ledger_repository.pre_annotation(session, "day/a/r0", prediction_id=9) == [{"id": "r1"}]


def test_the_project_taken_last_counts_and_belongs_to_one_workspace(session: Session) -> None:
    assert record_project(session)
    assert not record_project(session)
    assert record_project(session, project_id=8)
    assert record_project(session, project_id=3)  # back to the first one
    assert record_project(session, workspace_id="w2", project_id=5)
    assert ledger_repository.ls_projects(session, "w1", "day") == [3, 8, 3]
    assert ledger_repository.ls_projects(session, "w2", "day") == [5]
    assert ledger_repository.ls_projects(session, "w1", "dusk") == []
    assert not record_project(session, number=1, project_id=8)  # told again
