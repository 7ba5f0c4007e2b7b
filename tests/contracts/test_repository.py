"""The repository's promises, on every database the ledger can live in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db import ItemState, Ledger, LedgerConflictError, LedgerError, Verdict, session_scope
from db import repository as ledger_repository
from db.repository import QueryRow
from db.tables import Annotation
from tests.ledgers import new_target, open_ledger

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
STEMS = ("a", "b", "c", "d")


def row(stem: str, rank: int, domain: str = "day", **changes: Any) -> QueryRow:
    given = {"score": 0.25, "source": "strategy", "reason": "entropy 0.25"} | changes
    return QueryRow(sample_id=f"{domain}/{stem}", rank=rank, **given)


QUERY = [row(stem, rank) for rank, stem in enumerate(STEMS, start=1)]


def prepare(session: Session, domain: str = "day") -> None:
    ledger_repository.add_domain(session, name=domain)
    images = {f"{domain}/{stem}": f"image-{stem}" for stem in STEMS}
    ledger_repository.add_samples(session, domain=domain, image_sha256=images)
    for round_index in (0, 1):
        ledger_repository.add_round(session, domain=domain, round_index=round_index)
    query = [row(stem, rank, domain) for rank, stem in enumerate(STEMS, start=1)]
    ledger_repository.upsert_query_items(session, domain, 0, query)


@pytest.fixture
def session(ledger: Ledger) -> Iterator[Session]:
    with session_scope(ledger) as session:
        prepare(session)
        yield session


def answer(
    session: Session, item_id: str = "day/a/r0", minute: int = 0, **changes: Any
) -> tuple[Annotation, bool]:
    """One answer, accepted unless told otherwise; its time is `minute` after noon."""
    verdict = changes.get("verdict", "accepted")
    given = {
        "tool_annotation_id": 1,
        "annotator": "ana@example.org",
        "lead_time_s": 30.0,
        "created_at": NOON,
        "updated_at": NOON + timedelta(minutes=minute),
        "raw_sha256": f"raw-{minute}",
        "mask_sha256": f"mask-{minute}" if verdict == "accepted" else None,
        "verdict": verdict,
        "why": "rle ends early" if verdict == "quarantined" else "",
    }
    return ledger_repository.record_annotation(session, item_id=item_id, **(given | changes))


TASK = {"project_id": 1, "task_id": 5, "prediction_id": 9, "pre_annotation": [{"id": "r1"}]}
CHECKPOINT = {
    "domain": "day",
    "round_index": 0,
    "kind": "teacher",
    "params_sha256": "p",
    "weights_sha256": "w",
    "trained_on": {"day/a": "mask-a"},
}
MEASUREMENT = {
    "domain": "day",
    "round_index": 0,
    "kind": "teacher",
    "evaluated_domain": "day",
    "split": "val",
    "metric": "miou",
    "value": 0.5,
}


def _task(session: Session, **changes: Any) -> bool:
    given = {"item_id": "day/a/r0"} | TASK | changes
    return ledger_repository.record_ls_task(session, **given)[1]


def _checkpoint(session: Session, **changes: Any) -> bool:
    return ledger_repository.record_checkpoint(session, **(CHECKPOINT | changes))[1]


def _measurement(session: Session, **changes: Any) -> bool:
    _checkpoint(session)
    return ledger_repository.record_measurement(session, **(MEASUREMENT | changes))[1]


def _samples(session: Session, sha256: str = "e") -> bool:
    given = {"day/e": sha256, "day/a": "image-a"}
    return ledger_repository.add_samples(session, domain="day", image_sha256=given) == 1


def _query(session: Session, **changes: Any) -> bool:
    return ledger_repository.upsert_query_items(session, "day", 1, [row("a", 1, **changes)]) == 1


def _event(session: Session, **changes: Any) -> bool:
    given = {"kind": "stage.completed", "who": "tick", "domain": "day", "round_index": 0}
    return ledger_repository.record_event(session, **(given | {"subject": "predict"} | changes))


# What is recorded, and the same key with other content.
RECORDS: list[tuple[Callable[..., bool], dict[str, Any]]] = [
    (_samples, {"sha256": "other"}),
    (_query, {"score": 0.26}),
    (_query, {"reason": "another"}),
    (_query, {"source": "audit"}),
    (_query, {"regions": [[0, 0, 8, 8]]}),
    (_query, {"expected_minutes": 2.0}),
    (_task, {"pre_annotation": [{"id": "r2"}]}),
    (_checkpoint, {"weights_sha256": "other"}),
    (_checkpoint, {"trained_on": {}}),
    (_measurement, {"value": 0.51}),
    (lambda session, **changes: answer(session, **changes)[1], {"annotator": "bo"}),
    (lambda session, **changes: answer(session, **changes)[1], {"item_id": "day/b/r0"}),
    (lambda session, **changes: answer(session, **changes)[1], {"verdict": "skipped"}),
    (lambda session, **changes: _event(session, key="k", **changes), {"subject": "embed"}),
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


# -- domains, samples, rounds, queries


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
        (lambda s: _query(s, source="hunch"), "expected one of strategy, audit, cold_start"),
        (lambda s: _task(s, item_id="day/a/r9"), "record the query first"),
        (lambda s: answer(s, "day/a/r9"), "record the query first"),
        (lambda s: answer(s, verdict="fine"), "expected one of accepted, skipped, quarantined"),
        (lambda s: answer(s, mask_sha256=None), "accepted ones have one"),
        (lambda s: answer(s, verdict="skipped", mask_sha256="m"), "accepted ones have one"),
        (lambda s: answer(s, verdict="quarantined", why=""), "without a reason"),
        (lambda s: _checkpoint(s, round_index=7), "add it first"),
        (lambda s: _checkpoint(s, kind="student"), "expected one of baseline, teacher"),
        (lambda s: _measurement(s, kind="baseline"), "record it first"),
        (lambda s: _measurement(s, evaluated_domain="night"), "'night'"),
        (lambda s: _measurement(s, value=float("nan")), "could not be measured"),
        (lambda s: _measurement(s, split="pool"), "expected one of val, test"),
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
    assert _task(session)
    assert _task(session, item_id="day/b/r0", task_id=6, pre_annotation=None)
    assert _task(session, project_id=2, pre_annotation=[{"id": "again"}])
    tasks = ledger_repository.ls_tasks(session, "day", 0)
    assert {key: task.project_id for key, task in tasks.items()} == {"day/a/r0": 2, "day/b/r0": 1}
    assert ledger_repository.pre_annotation(session, "day/a/r0") == [{"id": "again"}]
    assert ledger_repository.pre_annotation(session, "day/b/r0") is None
    assert ledger_repository.ls_tasks(session, "day", 1) == {}


def test_a_task_without_prediction_is_still_recorded_once(session: Session) -> None:
    assert _task(session, prediction_id=None)
    assert not _task(session, prediction_id=None)  # NULL equals nothing in a UNIQUE


def test_an_earlier_prediction_can_still_be_read(session: Session) -> None:
    _task(session)
    _task(session, prediction_id=10, pre_annotation=[{"id": "second"}])
    assert ledger_repository.pre_annotation(session, "day/a/r0", prediction_id=9) == [{"id": "r1"}]


# -- annotations


def test_versions_form_a_chain(session: Session) -> None:
    first, _ = answer(session)
    edited, is_new = answer(session, minute=5)
    by_another, _ = answer(session, minute=9, tool_annotation_id=2, annotator="bo")
    elsewhere, _ = answer(session, "day/b/r0", minute=10, tool_annotation_id=3)
    assert is_new
    assert [first.supersedes, edited.supersedes, by_another.supersedes] == [
        None,
        first.id,
        edited.id,
    ]
    assert elsewhere.supersedes is None


def test_two_versions_of_one_moment_follow_each_other(session: Session) -> None:
    first, _ = answer(session)
    second, _ = answer(session, raw_sha256="other")
    assert second.supersedes == first.id
    assert ledger_repository.latest_accepted(session)["day/a"] is second


def test_a_version_collected_late_takes_its_place_in_the_tools_time(session: Session) -> None:
    first, _ = answer(session)
    third, _ = answer(session, minute=9)
    late, _ = answer(session, minute=5)
    assert [third.supersedes, late.supersedes] == [first.id, first.id]
    assert ledger_repository.latest_accepted(session)["day/a"] is third
    versions = ledger_repository.annotation_versions(session, "day", 0)
    assert versions == [first, late, third]


def test_a_version_can_be_found_before_it_is_judged_again(session: Session) -> None:
    row, _ = answer(session)
    key = {"tool_annotation_id": 1, "updated_at": NOON, "raw_sha256": "raw-0"}
    assert ledger_repository.find_annotation(session, **key) is row
    assert ledger_repository.find_annotation(session, **(key | {"raw_sha256": "x"})) is None


@pytest.mark.parametrize("changes", [{"raw_sha256": "x"}, {"minute": 1}, {"tool_annotation_id": 2}])
def test_each_part_of_the_identity_makes_a_new_version(
    session: Session, changes: dict[str, Any]
) -> None:
    answer(session, raw_sha256="raw")
    assert answer(session, **({"raw_sha256": "raw"} | changes))[1]


ACCEPTED, SKIPPED, QUARANTINED = Verdict.ACCEPTED, Verdict.SKIPPED, Verdict.QUARANTINED


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], ItemState.OPEN),
        ([ACCEPTED], ItemState.ACCEPTED),
        ([SKIPPED], ItemState.SKIPPED),
        ([QUARANTINED], ItemState.QUARANTINED_ONCE),
        ([QUARANTINED, QUARANTINED], ItemState.QUARANTINED_TWICE),
        ([QUARANTINED, ACCEPTED], ItemState.ACCEPTED),
        ([QUARANTINED, QUARANTINED, ACCEPTED], ItemState.ACCEPTED),
        ([ACCEPTED, QUARANTINED, QUARANTINED], ItemState.ACCEPTED),
        ([SKIPPED, ACCEPTED], ItemState.ACCEPTED),
        ([ACCEPTED, SKIPPED], ItemState.ACCEPTED),
        ([QUARANTINED, SKIPPED], ItemState.SKIPPED),
        ([SKIPPED, QUARANTINED], ItemState.SKIPPED),
        ([QUARANTINED, QUARANTINED, SKIPPED], ItemState.SKIPPED),
        ([SKIPPED, QUARANTINED, QUARANTINED], ItemState.QUARANTINED_TWICE),
    ],
)
def test_the_state_of_an_item_follows_from_its_verdicts(
    session: Session, verdicts: list[Verdict], expected: ItemState
) -> None:
    for minute, verdict in enumerate(verdicts):
        answer(session, minute=minute, verdict=verdict)
    states = ledger_repository.item_states(session, "day", 0)
    assert states["day/a/r0"] is expected
    assert list(states) == ["day/a/r0", "day/b/r0", "day/c/r0", "day/d/r0"]
    assert {states[key] for key in list(states)[1:]} == {ItemState.OPEN}


def test_state_does_not_depend_on_the_order_of_arrival(ledger: Ledger) -> None:
    sent = [(1, "accepted"), (2, "skipped"), (3, "accepted")]
    for order in itertools.permutations(sent):
        session = ledger.writers()  # rolled back each time
        prepare(session)
        for minute, verdict in order:
            answer(session, minute=minute, verdict=verdict)
        assert ledger_repository.latest_accepted(session)["day/a"].mask_sha256 == "mask-3"
        assert ledger_repository.item_states(session, "day", 0)["day/a/r0"] is ItemState.ACCEPTED
        session.close()


def test_the_latest_accepted_is_over_all_rounds_and_by_domain(session: Session) -> None:
    prepare(session, "dusk")
    ledger_repository.upsert_query_items(session, "day", 1, [row("a", 1)])
    answer(session, "day/a/r1", minute=2, tool_annotation_id=1)
    answer(session, "day/a/r0", minute=7, tool_annotation_id=2)  # an edit after its merge
    answer(session, "day/a/r1", minute=8, tool_annotation_id=3, verdict="skipped")
    answer(session, "day/b/r0", minute=1, tool_annotation_id=4, verdict="quarantined")
    answer(session, "dusk/a/r0", minute=3, tool_annotation_id=5)
    found = ledger_repository.latest_accepted(session)
    assert {key: (a.item_id, a.mask_sha256) for key, a in found.items()} == {
        "day/a": ("day/a/r0", "mask-7"),
        "dusk/a": ("dusk/a/r0", "mask-3"),
    }
    assert set(ledger_repository.latest_accepted(session, "dusk")) == {"dusk/a"}
    assert ledger_repository.annotated_count(session, "day") == 1
    assert ledger_repository.annotated_count(session) == 2


def test_the_watermark_is_the_newest_time_in_the_tool(session: Session) -> None:
    assert ledger_repository.watermark(session, "day") is None
    answer(session, minute=7)
    answer(session, "day/b/r0", minute=3, tool_annotation_id=2)
    assert ledger_repository.watermark(session, "day") == NOON + timedelta(minutes=7)


def test_the_answers_of_a_round_are_counted(session: Session) -> None:
    answer(session, minute=1, lead_time_s=30.0, corrected_pixels=12)
    answer(session, minute=2, lead_time_s=90.0, corrected_pixels=0)  # an edit takes it back
    answer(session, "day/b/r0", 3, tool_annotation_id=2, corrected_pixels=4, lead_time_s=60.0)
    answer(session, "day/c/r0", 4, tool_annotation_id=3, verdict="skipped", lead_time_s=None)
    answer(session, "day/d/r0", 5, tool_annotation_id=4, verdict="quarantined", lead_time_s=6.0)
    answer(session, "day/d/r0", 6, tool_annotation_id=5, lead_time_s=24.0)
    first, second = ledger_repository.answers(session, "day")
    assert first == ledger_repository.RoundAnswers(
        round_index=0,
        asked=4,
        accepted=3,
        corrected=1,
        skipped=1,
        quarantined=1,
        lead_minutes=3.0,
    )
    assert (second.asked, second.accepted, second.lead_minutes) == (0, 0, 0.0)


def test_regions_are_counted_with_their_pixels_where_they_are_accepted(session: Session) -> None:
    regions = {
        "b": [{"box": [0, 0, 4, 5]}, {"box": [4, 0, 4, 5]}],
        "c": [{"box": [0, 0, 100, 100]}],
        "d": None,
    }
    rows = [row(stem, rank, regions=regions[stem]) for rank, stem in enumerate(regions, start=1)]
    ledger_repository.upsert_query_items(session, "day", 1, rows)
    answer(session, "day/b/r1", 1)
    answer(session, "day/c/r1", 2, tool_annotation_id=2, verdict="skipped")
    answer(session, "day/d/r1", 3, tool_annotation_id=3)
    _, first = ledger_repository.answers(session, "day")
    assert (first.asked, first.accepted, first.skipped) == (3, 2, 1)
    assert (first.regions_asked, first.regions_accepted, first.pixels_accepted) == (3, 2, 40)
    newest = ledger_repository.accepted_items(session)
    assert sorted(newest) == ["day/b/r1", "day/d/r1"]
    edited, _ = answer(session, "day/b/r1", 4)
    assert ledger_repository.accepted_items(session)["day/b/r1"] is edited
    found = ledger_repository.find_query_item(session, "day/c/r1")
    assert found is not None
    assert found.regions == regions["c"]
    assert ledger_repository.find_query_item(session, "day/x/r0") is None


# -- training and events


def test_checkpoints_and_measurements_come_in_order(session: Session) -> None:
    for domain in ("zoo", "dusk"):
        prepare(session, domain)
    for domain, kind in itertools.product(("dusk", "zoo", "day"), ("teacher", "baseline")):
        for evaluated_domain in ("zoo", "day"):
            key = {"domain": domain, "kind": kind}
            _checkpoint(session, **key)
            given = MEASUREMENT | key | {"evaluated_domain": evaluated_domain}
            ledger_repository.record_measurement(session, **given)
    expected = list(itertools.product(("day", "zoo", "dusk"), ("baseline", "teacher")))
    found = ledger_repository.checkpoints(session)
    assert [(row.domain, row.kind) for row in found] == expected
    measured = ledger_repository.measurements(session, metric="miou", split="val")
    assert [(m.domain, m.kind) for m in measured[::2]] == expected
    assert [m.evaluated_domain for m in measured[:2]] == ["day", "zoo"]
    assert ledger_repository.measurements(session, split="test") == []
    assert ledger_repository.checkpoints(session, "zoo")[0].trained_on == {"day/a": "mask-a"}


def test_an_event_said_again_by_another_process_is_the_same(session: Session) -> None:
    assert _event(session, who="tick 1", detail={"seconds": 3.0})
    assert not _event(session, who="tick 2", detail={"seconds": 4.0})
    assert _event(session, subject="evaluate")
    assert _event(session, round_index=1)
    assert _event(session, domain=None, round_index=None, subject="")
    first = ledger_repository.events(session, "stage.completed", "day")[0]
    assert (first.key, first.who) == ("stage.completed:day/r0:predict", "tick 1")
    assert first.detail == {"seconds": 3.0}
    assert ledger_repository.find_event(session, first.key) is first
    assert ledger_repository.find_event(session, "stage.completed:day/r9:predict") is None
    assert len(ledger_repository.events(session)) == 4
    assert ledger_repository.events(session, "other") == []


# -- facts


def fill(session: Session) -> None:
    prepare(session)
    _event(session, at=NOON)
    _task(session)
    _measurement(session)
    answer(session)
    answer(session, minute=3, corrected_pixels=5)
    answer(session, "day/b/r0", minute=2, tool_annotation_id=2, verdict="skipped")


def fill_otherwise(session: Session) -> None:
    """The same facts in another order, which gives other row ids, and by another clock."""
    prepare(session)
    answer(session, "day/b/r0", minute=2, tool_annotation_id=2, verdict="skipped")
    answer(session)
    answer(session, minute=3, corrected_pixels=5)
    _measurement(session)
    _task(session)
    _event(session, at=NOON + timedelta(days=1))


def test_equal_facts_are_equal_whatever_their_order_or_database(
    ledger: Ledger, tmp_path: Any
) -> None:
    other = open_ledger(new_target("sqlite", tmp_path))
    with session_scope(ledger) as session, session_scope(other) as another:
        fill(session)
        fill_otherwise(another)
        mine, theirs = ledger_repository.facts(session), ledger_repository.facts(another)
        assert mine == theirs
        assert ledger_repository.facts_hash(mine) == ledger_repository.facts_hash(theirs)
        assert json.loads(json.dumps(mine)) == mine
        _event(another, kind="one.more")
        theirs = ledger_repository.facts(another)
        assert ledger_repository.facts_hash(mine) != ledger_repository.facts_hash(theirs)
    other.close()


def test_facts_hold_every_table_but_no_row_ids_nor_our_clock(session: Session) -> None:
    fill(session)
    found = ledger_repository.facts(session)
    assert all(found.values()), "the test should fill every table"
    assert len(found) == 9
    columns = {name for rows in found.values() for name in rows[0]}
    assert not columns & {"id", "collected_at", "at", "supersedes", "detail"}
    assert {"updated_at", "created_at", "raw_sha256", "trained_on"} <= columns
    moments = {row["updated_at"] for row in found["annotation"]}
    assert "2026-05-01T12:03:00+00:00" in moments
