"""Which answers were accepted unseen, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from db import repository as ledger_repository
from tests.contracts.repository.recording import STEMS, answer, prepare, row


def asked(session: Session, **changes: Any) -> None:
    """Round 1 asks for four images; of c and d the model is unsure."""
    prepare(session)
    scores = {"a": 0.1, "b": 0.2, "c": 0.8, "d": 0.9}
    query = [
        row(stem, rank, score=scores[stem], **changes) for rank, stem in enumerate(STEMS, start=1)
    ]
    ledger_repository.upsert_query_items(session, "day", 1, query)


def blind(session: Session) -> list[str]:
    return [one.item_id for one in ledger_repository.accepted_blind(session, "day")]


def test_a_moment_without_a_change_where_the_model_was_unsure_is_blind(session: Session) -> None:
    asked(session)
    given = {"lead_time_s": 1.2, "corrected_pixels": 0}
    answer(session, "day/d/r1", tool_annotation_id=1, **given)
    answer(session, "day/a/r1", minute=1, tool_annotation_id=2, **given)  # sure, and likely right
    (found,) = ledger_repository.accepted_blind(session, "day")
    assert (found.item_id, found.lead_s, found.uncertainty) == ("day/d/r1", 1.2, 0.9)
    assert found.annotator == "ana@example.org"


@pytest.mark.parametrize(
    "changes",
    [
        {"lead_time_s": 2.1},
        {"lead_time_s": None},
        {"corrected_pixels": 1},
        {"corrected_pixels": None},
        {"verdict": "skipped", "mask_sha256": None},
    ],
)
def test_all_of_it_has_to_hold(session: Session, changes: dict[str, Any]) -> None:
    asked(session)
    answer(session, "day/d/r1", **({"lead_time_s": 1.0, "corrected_pixels": 0} | changes))
    assert blind(session) == []


def test_before_there_is_a_model_nothing_is_accepted(session: Session) -> None:
    asked(session, source="cold_start")
    answer(session, "day/d/r1", lead_time_s=1.0, corrected_pixels=0)
    assert blind(session) == []


def test_an_edit_that_changes_something_takes_it_back(session: Session) -> None:
    asked(session)
    answer(session, "day/d/r1", lead_time_s=1.0, corrected_pixels=0)
    assert blind(session) == ["day/d/r1"]
    answer(session, "day/d/r1", minute=3, lead_time_s=20.0, corrected_pixels=40)
    assert blind(session) == []
