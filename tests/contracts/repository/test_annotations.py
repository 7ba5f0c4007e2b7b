"""Versions of an answer and what follows from them, on every database."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db import repository as ledger_repository
from db.repository.annotations import LONGEST_LEAD_S, lead_time
from db.tables import ItemState, Verdict
from tests.contracts.repository.recording import (
    NOON,
    answer,
    prepare,
    row,
)


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


def test_versions_count_in_the_order_of_their_coming_whatever_the_tools_clock_said(
    session: Session,
) -> None:
    first, _ = answer(session, minute=60)  # the tool's clock was an hour ahead, then it was mended
    second, _ = answer(session, minute=5)
    third, _ = answer(session, minute=9, tool_annotation_id=2)
    assert [second.supersedes, third.supersedes] == [first.id, second.id]
    assert [row.sequence for row in (first, second, third)] == [0, 1, 2]
    assert ledger_repository.latest_accepted(session)["day/a"] is third
    assert ledger_repository.annotation_versions(session, "day", 0) == [first, second, third]


def test_facts_told_again_keep_their_places(session: Session) -> None:
    late, _ = answer(session, minute=9, sequence=7)
    early, _ = answer(session, minute=5, tool_annotation_id=2, sequence=3)
    taken, _ = answer(session, minute=6, tool_annotation_id=3, sequence=7)
    assert [early.sequence, late.sequence, taken.sequence] == [3, 7, 8]
    assert ledger_repository.next_sequence(session) == 9
    assert answer(session, minute=9, sequence=11) == (late, False)


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
    assert answer(session, **({"raw_sha256": "raw"} | changes)).is_new


ACCEPTED, SKIPPED = Verdict.ACCEPTED, Verdict.SKIPPED
QUARANTINED, WITHDRAWN = Verdict.QUARANTINED, Verdict.WITHDRAWN


def answers(session: Session, verdicts: list[Verdict], *, of_one: bool) -> ItemState:
    """The state after these verdicts: versions of one answer, or each of another's."""
    for place, verdict in enumerate(verdicts):
        who = {
            "tool_annotation_id": 1 if of_one else place,
            "annotator": f"{0 if of_one else place}",
        }
        answer(session, minute=place, verdict=verdict, **who)
    states = ledger_repository.item_states(session, "day", 0)
    assert list(states) == ["day/a/r0", "day/b/r0", "day/c/r0", "day/d/r0"]
    assert {states[key] for key in list(states)[1:]} == {ItemState.OPEN}
    return states["day/a/r0"]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], ItemState.OPEN),
        ([ACCEPTED], ItemState.ACCEPTED),
        ([SKIPPED], ItemState.SKIPPED),
        ([QUARANTINED], ItemState.QUARANTINED_ONCE),
        ([WITHDRAWN], ItemState.OPEN),
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
def test_the_state_of_an_item_follows_from_its_answers(
    session: Session, verdicts: list[Verdict], expected: ItemState
) -> None:
    assert answers(session, verdicts, of_one=False) is expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([QUARANTINED, QUARANTINED], ItemState.QUARANTINED_TWICE),
        ([QUARANTINED, ACCEPTED], ItemState.ACCEPTED),
        ([ACCEPTED, QUARANTINED], ItemState.ACCEPTED),  # a spoilt edit takes nothing back
        ([ACCEPTED, QUARANTINED, SKIPPED], ItemState.SKIPPED),
        ([ACCEPTED, SKIPPED], ItemState.SKIPPED),
        ([ACCEPTED, SKIPPED, ACCEPTED], ItemState.ACCEPTED),
        ([ACCEPTED, WITHDRAWN], ItemState.OPEN),
        ([ACCEPTED, WITHDRAWN, ACCEPTED], ItemState.ACCEPTED),
        ([QUARANTINED, WITHDRAWN], ItemState.OPEN),
    ],
)
def test_an_answer_is_what_its_newest_version_says(
    session: Session, verdicts: list[Verdict], expected: ItemState
) -> None:
    assert answers(session, verdicts, of_one=True) is expected


def test_an_earlier_answer_counts_where_the_newer_is_withdrawn(session: Session) -> None:
    answer(session, minute=1)
    answer(session, minute=2, tool_annotation_id=2)
    answer(session, minute=3, tool_annotation_id=2, verdict="withdrawn")
    assert ledger_repository.latest_accepted(session)["day/a"].mask_sha256 == "mask-1"
    assert ledger_repository.withdrawn_samples(session) == set()
    answer(session, minute=4, verdict="withdrawn")
    assert ledger_repository.latest_accepted(session) == {}
    assert ledger_repository.withdrawn_samples(session) == {"day/a"}


def test_a_starred_answer_counts_whatever_came_later(session: Session) -> None:
    answer(session, minute=1, ground_truth=True)
    answer(session, minute=2, tool_annotation_id=2)
    assert ledger_repository.latest_accepted(session)["day/a"].mask_sha256 == "mask-1"
    assert ledger_repository.accepted_items(session)["day/a/r0"].mask_sha256 == "mask-1"
    answer(session, minute=3, tool_annotation_id=1)  # the star is taken off
    assert ledger_repository.latest_accepted(session)["day/a"].mask_sha256 == "mask-3"
    answer(session, minute=4, tool_annotation_id=2, ground_truth=True)
    assert ledger_repository.latest_accepted(session)["day/a"].mask_sha256 == "mask-4"


def test_ids_that_a_tool_gave_out_twice_are_two_answers(session: Session) -> None:
    answer(session, minute=1)
    answer(session, "day/b/r0", minute=2, created_at=NOON + timedelta(minutes=2))
    answer(
        session, "day/b/r0", minute=3, created_at=NOON + timedelta(minutes=2), verdict="withdrawn"
    )
    assert set(ledger_repository.latest_accepted(session)) == {"day/a"}


@pytest.mark.parametrize(
    ("seconds", "raw", "annotator", "expected"),
    [
        (1, "same", "ana", ItemState.QUARANTINED_ONCE),
        (90, "same", "ana", ItemState.QUARANTINED_TWICE),
        (1, "other", "ana", ItemState.QUARANTINED_TWICE),
        (1, "same", "bo", ItemState.QUARANTINED_TWICE),
    ],
)
def test_a_double_click_spends_one_asking(
    session: Session, seconds: int, raw: str, annotator: str, expected: ItemState
) -> None:
    spoilt = {"verdict": "quarantined", "raw_sha256": "same", "annotator": "ana"}
    answer(session, **spoilt)
    again = {"raw_sha256": raw, "annotator": annotator, "tool_annotation_id": 2}
    answer(session, **(spoilt | again | {"updated_at": NOON + timedelta(seconds=seconds)}))
    assert ledger_repository.item_states(session, "day", 0)["day/a/r0"] is expected


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


@pytest.mark.parametrize(
    ("raw_s", "for_figures"),
    [
        (None, None),
        (-5.0, 0.0),  # the browser's clock was set back
        (-1e300, 0.0),
        (math.nan, None),
        (math.inf, LONGEST_LEAD_S),
        (8_000_000.0, LONGEST_LEAD_S),  # a tab that stayed open
        (30.0, 30.0),
    ],
)
def test_an_impossible_lead_time_is_kept_and_bounded_in_figures(
    session: Session, raw_s: float | None, for_figures: float | None
) -> None:
    assert lead_time(raw_s) == for_figures
    kept = None if raw_s is not None and math.isnan(raw_s) else raw_s  # as records hand it over
    answer(session, minute=1, lead_time_s=kept)
    (version,) = ledger_repository.annotation_versions(session, "day", 0)
    assert version.lead_time_s == kept
    (first, *_) = ledger_repository.answers(session, "day")
    assert first.lead_minutes == (for_figures or 0) / 60
