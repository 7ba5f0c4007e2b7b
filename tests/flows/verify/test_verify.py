"""`ssl-loop verify`: a campaign is clean, and each invariant that is broken by hand is named."""

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
import pytest
from click.testing import CliRunner
from PIL import Image

from db.session import open_ledger
from flows import cli
from flows.loop import Loop
from flows.steps.collect import collect
from flows.tick import tick
from flows.verify import INVARIANTS, QUICK, Report, judge, verify
from flows.verify.evidence import Evidence
from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.position import Position
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.formats.images import save_mask
from pipeline.files import sha256_file, write_json
from tests.fake_annotator import FakeAnnotator
from tests.flows.conftest import CLASSES, truth


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


@pytest.fixture
def place(shifted: Path) -> Place:
    return Place(shifted)


def judged(place: Place, *names: str) -> Report:
    loop = place.loop()
    try:
        return judge(Evidence(loop), names)
    finally:
        loop.ledger.close()


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


def test_every_invariant_has_a_fault_that_breaks_it() -> None:
    assert list(BREAKS) == list(INVARIANTS)


def test_a_campaign_is_clean(place: Place) -> None:
    loop = place.loop()
    report = verify(loop)
    loop.ledger.close()
    assert report.in_words() == [f"{len(INVARIANTS)} invariants checked: all as it must be"]
    assert report.checked == tuple(INVARIANTS)


@pytest.mark.parametrize(
    ("name", "fault"),
    [(name, fault) for name, faults in BREAKS.items() for fault in faults],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_is_broken_by_hand_is_named(
    place: Place, name: str, fault: Callable[[Place], None]
) -> None:
    fault(place)
    report = judged(place, name)
    assert report.findings, f"{fault.__name__} is not noticed by {name}"
    for finding in report.findings:
        assert finding.invariant == name
        assert all([finding.where, finding.what, finding.remedy])


def test_answers_that_wait_for_their_merge_are_no_fault(place: Place) -> None:
    first, second, _ = place.people.open_items()
    place.people.answer(first, truth(9))
    place.people.skip(second)
    loop = place.loop()
    collect(loop, Position(domain="dusk", round_index=0, computed=True))
    report = verify(loop)
    loop.ledger.close()
    assert report.findings == ()


def withdrawn_and_merged(place: Place) -> str:
    """The sample whose only answer was taken back after the loop had collected it."""
    first, *others = place.people.open_items()
    answer = place.people.answer(first, truth(9))
    loop = place.loop()
    collect(loop, Position(domain="dusk", round_index=0, computed=True))
    place.people.delete_annotation(answer)
    for seed, item_id in enumerate(others):
        place.people.answer(item_id, truth(seed))
    tick(loop)
    place.people.skip(first)
    tick(loop)
    loop.ledger.close()
    return first.rsplit("/", 1)[0]


def test_a_withdrawn_answer_is_no_fault_and_its_mask_in_the_data_is_one(place: Place) -> None:
    sample_id = withdrawn_and_merged(place)
    assert "dusk/r0-labels" in Workspace(place.root).tags_merged()
    loop = place.loop()
    assert verify(loop).in_words()[:-1] == []
    loop.ledger.close()
    place.edit_manifest(sample_id, mask=f"data/dusk/masks/{sample_id}.png", origin="annotated")
    place.commit()
    findings = judged(place, "merged").findings
    assert [(one.where, "withdrawn" in one.what) for one in findings] == [(sample_id, True)]


def test_params_edited_for_the_next_round_are_no_fault(place: Place) -> None:
    params = place.root / layout.PARAMS
    params.write_text(params.read_text().replace("query_size: 3", "query_size: 2"))
    assert judged(place, "working_copy", "tags").findings == ()


def between_rounds(place: Place) -> None:
    """As after a merge: the round's tag is not there yet, and a stage has begun."""
    for tag in ("dusk/r0", "dusk/final"):
        subprocess.run(["git", "tag", "-d", tag], cwd=place.root, stdout=-3, stderr=-3)
    weights_changed(place)
    metrics_edited(place)


def test_what_the_stages_of_a_round_under_way_write_is_no_fault(place: Place) -> None:
    between_rounds(place)
    report = judged(place, "working_copy")
    assert (report.findings, report.unchecked) == ((), {})


@pytest.mark.parametrize("fault", [stray_mask, image_lost, image_changed, pixel_changed])
def test_data_that_no_stage_writes_are_judged_while_a_round_is_under_way(
    place: Place, fault: Callable[[Place], None]
) -> None:
    between_rounds(place)
    fault(place)
    assert judged(place, "working_copy").findings


def test_a_ledger_of_another_schema_or_a_damaged_file_is_a_finding_not_a_traceback(
    place: Place,
) -> None:
    path = place.root / layout.MANIFEST
    path.write_text("not,a,manifest\n")
    place.commit()
    report = judged(place, "manifest", "versions")
    assert [finding.invariant for finding in report.findings] == ["manifest"]
    assert "cannot be looked at" in report.findings[0].what


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("dvc.lock", b"stages: {embed: 3}\n", "dvc.lock at dusk/r0: stages.embed: "),
        ("dvc.lock", b"stages: [\n", "dvc.lock at dusk/r0:2: not valid YAML"),
        ("dvc.lock", b"\xff\n", "dvc.lock at dusk/r0:1: is not UTF-8 text"),
        ("params.yaml", b"- none\n", "params.yaml at dusk/r0: expected a mapping"),
    ],
)
def test_a_damaged_file_at_a_tag_is_named_with_its_place(
    place: Place, file: str, content: bytes, said: str
) -> None:
    kept = (place.root / file).read_bytes()
    (place.root / file).write_bytes(content)
    place.commit("dusk/r0")
    (place.root / file).write_bytes(kept)
    [finding] = judged(place, "tags").findings
    assert said in finding.what
    assert "somebody committed it so" in finding.what


def test_a_tick_says_what_it_leaves_unsound(place: Place) -> None:
    stray_in_inbox(place)
    loop, said = place.loop(), []
    loop.log = said.append
    assert tick(loop).startswith("waiting 0/3")
    loop.ledger.close()
    assert [line for line in said if "NOT AS IT MUST BE, inbox: .ssl-loop/inbox/holiday" in line]


def test_the_command_says_what_to_do_and_exits_1(place: Place) -> None:
    runner = CliRunner()
    clean = runner.invoke(cli.main, ["verify", "--quick", "-w", str(place.root)])
    assert (clean.exit_code, clean.output) == (
        0,
        f"{len(QUICK)} invariants checked: all as it must be\n",
    )
    stray_in_inbox(place)
    told = runner.invoke(cli.main, ["verify", "--quick", "-w", str(place.root)])
    assert told.exit_code == 1
    assert "inbox: .ssl-loop/inbox/holiday.png: belongs to no answer" in told.output
    assert "  -> " in told.output
    said = runner.invoke(cli.main, ["verify", "--quick", "--json", "-w", str(place.root)])
    assert said.exit_code == 1
    found = json.loads(said.output)
    assert [one["invariant"] for one in found["findings"]] == ["inbox"]
    assert found["checked"] == list(QUICK)
