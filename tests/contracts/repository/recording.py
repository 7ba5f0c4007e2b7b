"""Facts that the tests of the repository record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from db import repository as ledger_repository
from db.repository import NewQueryItem
from db.repository.insert_once import Recorded
from db.tables import Annotation

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
STEMS = ("a", "b", "c", "d")


def row(stem: str, rank: int, domain: str = "day", **changes: Any) -> NewQueryItem:
    given = {"score": 0.25, "source": "strategy", "reason": "entropy 0.25"} | changes
    return NewQueryItem(sample_id=f"{domain}/{stem}", rank=rank, **given)


QUERY = [row(stem, rank) for rank, stem in enumerate(STEMS, start=1)]


def prepare(session: Session, domain: str = "day") -> None:
    ledger_repository.add_domain(session, name=domain)
    images = {f"{domain}/{stem}": f"image-{stem}" for stem in STEMS}
    ledger_repository.add_samples(session, domain=domain, image_sha256=images)
    for round_index in (0, 1):
        ledger_repository.add_round(session, domain=domain, round_index=round_index)
    query = [row(stem, rank, domain) for rank, stem in enumerate(STEMS, start=1)]
    ledger_repository.upsert_query_items(session, domain, 0, query)


def answer(
    session: Session, item_id: str = "day/a/r0", minute: int = 0, **changes: Any
) -> Recorded[Annotation]:
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


def record_task(session: Session, **changes: Any) -> bool:
    given = {"item_id": "day/a/r0"} | TASK | changes
    return ledger_repository.record_ls_task(session, **given).is_new


def record_project(session: Session, **changes: Any) -> bool:
    given = {"workspace_id": "w1", "domain": "day", "project_id": 3} | changes
    return ledger_repository.record_ls_project(session, **given)


def record_checkpoint(session: Session, **changes: Any) -> bool:
    return ledger_repository.record_checkpoint(session, **(CHECKPOINT | changes)).is_new


def record_measurement(session: Session, **changes: Any) -> bool:
    record_checkpoint(session)
    return ledger_repository.record_measurement(session, **(MEASUREMENT | changes)).is_new


def add_samples(session: Session, sha256: str = "e") -> bool:
    given = {"day/e": sha256, "day/a": "image-a"}
    return ledger_repository.add_samples(session, domain="day", image_sha256=given) == 1


def add_query(session: Session, **changes: Any) -> bool:
    return ledger_repository.upsert_query_items(session, "day", 1, [row("a", 1, **changes)]) == 1


def record_event(session: Session, **changes: Any) -> bool:
    given = {"kind": "stage.completed", "who": "tick", "domain": "day", "round_index": 0}
    return ledger_repository.record_event(session, **(given | {"subject": "predict"} | changes))
