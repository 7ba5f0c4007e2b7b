"""A campaign's copy, and faults that a hand makes in it past the loop: some for each invariant."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from db.session import open_ledger
from flows.loop import Loop
from flows.steps.collect import collect
from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.position import Position
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.formats.images import save_mask
from pipeline.files import sha256_file, write_json
from tests.flows.conftest import CLASSES, truth
from tests.support.fake_annotator import FakeAnnotator


@dataclass(frozen=True)
class Place:
    """A campaign's copy, and hands that change it past the loop."""

    root: Path

    @property
    def people(self) -> FakeAnnotator:
        return FakeAnnotator(self.root.parent / "tool.json", CLASSES)

    def sql(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.root / layout.LEDGER)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def commit(self, *tags: str) -> None:
        commands = ["commit --quiet --all --no-verify -m by-hand"]
        commands += [f"tag --force --annotate -m by-hand {tag}" for tag in tags]
        for command in commands:
            subprocess.run(["git", *command.split()], cwd=self.root, check=True, stdout=-3)

    def edit_manifest(self, sample_id: str, **values: str) -> None:
        path = self.root / layout.MANIFEST
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
        for row in rows:
            row.update(values if row["sample_id"] == sample_id else {})
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def annotated(self) -> list[dict[str, str]]:
        with (self.root / layout.MANIFEST).open(newline="") as file:
            return [row for row in csv.DictReader(file) if row["origin"] == "annotated"]

    def records(self) -> list[Path]:
        folder = self.root / layout.annotations_dir("day")
        return sorted(folder.rglob("*-accepted.json"))

    def loop(self) -> Loop:
        return Loop(
            workspace=Workspace(self.root),
            ledger=open_ledger(self.root / layout.LEDGER),
            log=lambda line: None,
            annotator_factory=lambda *_: self.people,
        )


# --- one fault or more for every invariant, made by hand


def task_lost(place: Place) -> None:
    place.sql("DELETE FROM ls_task WHERE id = 1")


def item_lost(place: Place) -> None:
    place.sql("DELETE FROM query_item WHERE item_id LIKE 'dusk/%' AND rank = 2")


def item_that_nobody_asked(place: Place) -> None:
    place.sql("UPDATE query_item SET item_id = 'day/img002/r9' WHERE rank = 1 AND domain = 'day'")


def superseded_by_hand(place: Place) -> None:
    place.sql("UPDATE annotation SET supersedes = 1 WHERE id = 3")


def superseded_by_an_older_one(place: Place) -> None:
    place.sql("UPDATE annotation SET item_id = (SELECT item_id FROM annotation WHERE id = 1)")
    place.sql("UPDATE annotation SET supersedes = 3 WHERE id = 2")


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


def row_lost(place: Place) -> None:
    place.sql("DELETE FROM annotation WHERE id = 2")


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


def pixel_changed(place: Place) -> None:
    _paint(place.root / place.annotated()[0]["mask"])


def pixel_changed_with_every_hash(place: Place) -> None:
    """Only reading the person's own answer again tells."""
    row = place.annotated()[0]
    _paint(place.root / row["mask"])
    digest = sha256_file(place.root / row["mask"])
    place.sql(
        "UPDATE annotation SET mask_sha256 = ? WHERE mask_sha256 = ?", digest, row["mask_sha256"]
    )
    for path in place.records():
        text = path.read_text().replace(row["mask_sha256"], digest)
        path.write_text(text)
    place.edit_manifest(row["sample_id"], mask_sha256=digest)
    for name in (row["mask_sha256"], digest):
        (place.root / layout.INBOX / f"{name}.png").unlink(missing_ok=True)
    place.commit()


def _paint(path: Path) -> None:
    with Image.open(path) as png:
        mask_HW = np.array(png)
    mask_HW[0, 0] = (mask_HW[0, 0] + 1) % len(CLASSES)
    save_mask(path, mask_HW)


def masks_swapped(place: Place) -> None:
    one, other = place.annotated()
    place.edit_manifest(one["sample_id"], mask_sha256=other["mask_sha256"])
    place.edit_manifest(other["sample_id"], mask_sha256=one["mask_sha256"])
    place.commit()


def mask_lost(place: Place) -> None:
    one, _ = place.annotated()
    place.edit_manifest(one["sample_id"], mask="", mask_sha256="", origin="")
    place.commit()


def mask_of_nobody(place: Place) -> None:
    one, _ = place.annotated()
    mask = {"mask": one["mask"], "mask_sha256": one["mask_sha256"], "origin": "annotated"}
    place.edit_manifest("dusk/img001", **mask)
    place.commit()


def stray_mask(place: Place) -> None:
    _paint(_copy(place.root / place.annotated()[0]["mask"], "stray.png"))


def _copy(path: Path, name: str) -> Path:
    target = path.with_name(name)
    target.write_bytes(path.read_bytes())
    return target


def image_changed(place: Place) -> None:
    with (place.root / "data/day/images/img005.png").open("ab") as file:
        file.write(b"!")


def image_lost(place: Place) -> None:
    (place.root / "data/dusk/images/img000.png").unlink()


def image_of_another_ledger(place: Place) -> None:
    place.sql("UPDATE sample SET image_sha256 = 'other' WHERE sample_id = 'day/img003'")


def sample_twice(place: Place) -> None:
    path = place.root / layout.MANIFEST
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    place.commit()


def judge_teaches(place: Place) -> None:
    place.edit_manifest("day/img008", split="pool")
    place.commit()


def query_edited_at_a_tag(place: Place) -> None:
    query = place.root / layout.QUERY
    query.write_text(query.read_text().replace("toy", "mine"))
    place.commit("dusk/r0")


def params_edited_at_a_tag(place: Place) -> None:
    params = place.root / layout.PARAMS
    params.write_text(params.read_text().replace("query_size: 3", "query_size: 4"))
    place.commit("dusk/r0")


def metrics_edited(place: Place) -> None:
    write_json(place.root / layout.EVALUATION, {})


def model_with_more(place: Place) -> None:
    (place.root / layout.TEACHER / "extra.bin").write_bytes(b"?")


def weights_changed(place: Place) -> None:
    (place.root / layout.TEACHER / "model.safetensors").write_text("other weights")


def _object(place: Place, path: str) -> Path:
    workspace = Workspace(place.root)
    cache = cache_of(workspace)
    outs = outs_at(workspace.git, "day/r1")
    return next(cache.object(f[path]) for out in outs if path in (f := cache.files(out) or {}))


def object_collected(place: Place) -> None:
    _object(place, "models/teacher/model.safetensors").unlink()


def object_spoilt(place: Place) -> None:
    path = _object(place, "models/teacher/model.safetensors")
    path.chmod(0o644)
    path.write_text("other weights")


def other_weights_in_the_ledger(place: Place) -> None:
    place.sql("UPDATE checkpoint SET weights_sha256 = 'other' WHERE kind = 'teacher'")


def other_params_in_the_ledger(place: Place) -> None:
    place.sql("UPDATE checkpoint SET params_sha256 = 'other' WHERE kind = 'baseline'")


def checkpoint_lost(place: Place) -> None:
    place.sql("DELETE FROM checkpoint WHERE domain = 'day' AND round_index = 1")


def learnt_from_another_mask(place: Place) -> None:
    place.sql(
        'UPDATE checkpoint SET trained_on = \'{"day/img000": "other"}\' '
        "WHERE domain = 'day' AND round_index = 1"
    )


def learnt_from_its_judge(place: Place) -> None:
    place.sql("UPDATE checkpoint SET trained_on = json_set(trained_on, '$.\"day/img008\"', 'x')")


def reason_edited(place: Place) -> None:
    place.sql("UPDATE query_item SET reason = 'because' WHERE rank = 1")


def event_lost(place: Place) -> None:
    place.sql("DELETE FROM event WHERE kind = 'sealed'")


def event_changed(place: Place) -> None:
    place.sql("UPDATE event SET who = 'nobody' WHERE kind = 'sealed'")


def event_put_in(place: Place) -> None:
    place.sql(
        "INSERT INTO event (key, at, who, kind, subject, detail, previous_sha256, sha256) "
        "VALUES ('closed:day/r0', '2026-01-01', 'me', 'closed', '', '{}', 'x', 'y')"
    )


def measurement_made_up(place: Place) -> None:
    place.sql("UPDATE measurement SET value = 0.99")


def mask_committed_by_hand(place: Place) -> None:
    place.edit_manifest(place.annotated()[0]["sample_id"], mask_sha256="0" * 64)
    place.commit()


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


def answer_of_the_ledger_lost(place: Place) -> None:
    place.sql("DELETE FROM annotation WHERE sequence = (SELECT MAX(sequence) FROM annotation)")


BREAKS: dict[str, tuple[Callable[[Place], None], ...]] = {
    "events": (event_changed, event_lost, event_put_in),
    "asked": (task_lost, item_lost, item_that_nobody_asked),
    "versions": (superseded_by_hand, superseded_by_an_older_one),
    "records": (
        record_lost,
        record_of_another,
        record_damaged,
        record_of_another_shape,
        record_no_text,
        record_a_pipe,
        result_changed,
        row_lost,
    ),
    "inbox": (stray_in_inbox, waiting_mask_lost),
    "masks": (pixel_changed, pixel_changed_with_every_hash),
    "merged": (masks_swapped, mask_lost, mask_of_nobody),
    "manifest": (
        stray_mask,
        image_changed,
        image_lost,
        image_of_another_ledger,
        sample_twice,
        pixel_changed,
    ),
    "splits": (judge_teaches,),
    "tags": (query_edited_at_a_tag, params_edited_at_a_tag),
    "working_copy": (metrics_edited, model_with_more, weights_changed),
    "restorable": (object_collected, object_spoilt),
    "checkpoints": (
        other_weights_in_the_ledger,
        other_params_in_the_ledger,
        checkpoint_lost,
        learnt_from_another_mask,
        learnt_from_its_judge,
    ),
    "lineage": (learnt_from_another_mask,),
    "rebuilt": (reason_edited, event_lost, measurement_made_up, row_lost),
    "commits": (mask_committed_by_hand,),
    "tasks": (task_deleted, task_twice, task_of_another_workspace, project_deleted),
    "answers": (answer_not_collected, answer_deleted, answer_of_the_ledger_lost),
}
