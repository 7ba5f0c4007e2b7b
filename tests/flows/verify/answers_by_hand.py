"""Faults that a hand makes in answers: their records, the inbox, the annotation tool."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from flows.steps.collect import collect
from flows.workspace.position import Position
from pipeline import layout
from pipeline.files import write_json
from tests.flows.conftest import truth
from tests.flows.verify.campaign_copy import Place


def record_lost(place: Place) -> None:
    name = place.records()[0].name
    for path in [*place.records(), *(place.root / layout.INBOX).glob("*.json")]:
        if path.name == name:
            path.unlink()


def record_of_another(place: Place) -> None:
    path = place.records()[0]
    write_json(path, json.loads(path.read_text()) | {"annotator": "nobody@example.com"})


def record_damaged(place: Place) -> None:
    path = place.records()[0]
    path.write_bytes(path.read_bytes()[:100])


def record_of_another_shape(place: Place) -> None:
    path = place.records()[0]
    path.write_text(path.read_text().replace('"task_id": ', '"task_id": "of old", "was": ', 1))


def record_no_text(place: Place) -> None:
    place.records()[0].write_bytes(b"\xff\xfe{}")


def record_a_pipe(place: Place) -> None:
    path = place.records()[0]
    path.unlink()
    os.mkfifo(path)


def result_changed(place: Place) -> None:
    path = place.records()[0]
    write_json(path, json.loads(path.read_text()) | {"result": []})


def stray_in_inbox(place: Place) -> None:
    (place.root / layout.INBOX).mkdir(exist_ok=True)
    (place.root / layout.INBOX / "holiday.png").write_bytes(b"?")


def waiting_mask_lost(place: Place) -> None:
    item_id = place.people.open_items()[0]
    place.people.answer(item_id, truth(9))
    loop = place.loop()
    collect(loop, Position(domain="dusk", round_index=0, computed=True))
    loop.ledger.close()
    (mask,) = _newest(place.root / layout.INBOX, "*.png")
    mask.unlink()


def _newest(folder: Path, pattern: str) -> Iterator[Path]:
    return iter(sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)[-1:])


def task_deleted(place: Place) -> None:
    place.people.delete_task(place.people.open_items()[0])


def task_twice(place: Place) -> None:
    task = place.people.all_tasks()[place.people.task_id(place.people.open_items()[0]) - 1]
    place.people.import_task(task["project_id"], task["data"])


def task_of_another_workspace(place: Place) -> None:
    task = place.people.all_tasks()[-1]
    place.people.import_task(task["project_id"], {**task["data"], "workspace": "0" * 12})


def project_deleted(place: Place) -> None:
    place.people.delete_project(place.people.project_ids()[-1])


def answer_not_collected(place: Place) -> None:
    place.people.answer(place.people.open_items()[0], truth(3))


def answer_deleted(place: Place) -> None:
    place.people.delete_annotation(place.people.annotation_ids()[0])
