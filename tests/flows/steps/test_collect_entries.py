"""Answers with more than brushes in them, through a tick: what is read, kept and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from db.repository import annotation_versions
from db.session import session_scope
from flows.annotators.masks import encode_result
from flows.ledger.records import read_records
from flows.loop import Loop
from flows.tick import tick
from pipeline.files import write_json
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
CHOICE = {"id": "q", "type": "choices", "from_name": "q", "value": {"choices": ["\x00 \ud800"]}}


def collected(loop: Loop) -> dict[str, Any]:
    """`item_id -> newest row`."""
    with session_scope(loop.ledger, read_only=True) as session:
        return {row.item_id: row for row in annotation_versions(session)}


def test_the_readable_is_accepted_and_what_no_database_holds_is_kept_in_escapes(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2)
    loop = open_toy(toy)
    tick(loop)
    foreign, *damaged = people.open_items()
    brushes = encode_result(truth(0), loop.read_params().classes, "person")
    sent = {foreign: [*brushes, CHOICE]}
    for item_id, bad in zip(damaged, ["\x00", "\udfff\x1b[31m"], strict=True):
        sent[item_id] = [{**brushes[0], "image_rotation": bad, bad: bad}]
    for item_id, result in sent.items():
        people.submit(item_id, result)
    tick(loop)
    rows = collected(loop)
    assert rows[foreign].verdict == "accepted"
    assert rows[foreign].why.endswith("'choices' says nothing about pixels")
    for item_id in damaged:
        assert rows[item_id].verdict == "quarantined"
        assert "rotated by" in rows[item_id].why
        assert rows[item_id].why.isprintable()
    kept = {record.item_id: record for record in read_records(toy, ["day"])}
    assert {item_id: record.result for item_id, record in kept.items()} == sent
    assert kept[foreign].why == rows[foreign].why


def test_json_with_lone_surrogates_is_written_as_utf_8_and_read_back_equal(tmp_path: Path) -> None:
    value = {"\udc80": ["\ud800", "\x00", "\u732b", np.pi]}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_bytes().decode("utf-8")
    assert "\u732b" in text
    assert json.loads(text) == value
