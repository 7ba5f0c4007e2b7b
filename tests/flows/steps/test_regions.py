"""The loop with query_unit: region: what is asked, kept, merged, counted and made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import repository
from db.session import session_scope
from flows.annotators.masks import decode_annotation
from flows.ledger.records import advice_at, boxes_of
from flows.loop import Loop
from flows.rounds.stopping_advice import learning_curve
from flows.tick import tick
from flows.versions.find_models import models_named
from flows.versions.lineage import lineage_of_models
from flows.views.status import status
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.records.answers import compare, parse_answers
from pipeline.records.query import by_image, parse_query
from pipeline.records.regions import Box, inside
from pipeline.types import IGNORE
from tests.flows.conftest import CLASSES, SIZE, stage_domain, truth
from tests.flows.toy_stages import bands
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
REGIONS = 6  # of an image: 2 x 3


@pytest.fixture
def toy(toy: Path) -> Path:
    """Asks for 8 regions at a time, 16 in all: one image and a third of the next."""
    workspace = Workspace(toy)
    acquire = {"query_unit": "region", "region_size_px": 48, "query_size": 8}
    workspace.write_params({"acquire": acquire, "loop": {"budget": 16}})
    workspace.commit([layout.PARAMS], "Ask for regions")
    return toy


def asked_of(loop: Loop, item_id: str) -> tuple[Box, ...]:
    with session_scope(loop.ledger, read_only=True) as session:
        item = repository.find_query_item(session, item_id)
        assert item is not None
        return boxes_of(item)


def mask_of(root: Path, sample_id: str) -> np.ndarray:
    domain, stem = sample_id.split("/")
    return np.asarray(Image.open(root / layout.sample_png(layout.masks_dir(domain), stem)))


def answer_all(people: FakeAnnotator, seed: int = 0) -> None:
    for place, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed + place))


def test_a_task_is_an_image_with_all_its_regions_and_rounds_add_to_its_mask(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, val=2)
    loop = open_toy(toy)
    assert tick(loop) == "waiting 0/2: 2 open (day/r0)"
    assert (status(loop).asked, status(loop).published) == (2, 2)
    rows = parse_query(loop.workspace.show("day/r0", layout.QUERY).decode())
    assert len(rows) == 8
    images = by_image(rows)
    assert [(image.sample_id, len(image.boxes)) for image in images] == [
        ("day/img002", 6),
        ("day/img003", 2),
    ]
    assert images[0].reason == "6 regions, first: toy"
    for image in images:
        assert asked_of(loop, f"{image.sample_id}/r0") == image.boxes
    # The pre-annotation stands only where something is asked for.
    for task in people.all_tasks():
        sent = decode_annotation(task["result"], [], CLASSES, size=SIZE)
        asked = inside(asked_of(loop, task["data"]["item_id"]), SIZE)
        np.testing.assert_array_equal(sent, np.where(asked, bands(*SIZE, 3, first=2), IGNORE))

    # What is painted outside the regions is left out, and said.
    whole, part = people.open_items()
    people.answer(whole, truth(0))
    edited = people.answer(part, truth(1))
    first = asked_of(loop, part)
    said: list[str] = []
    loop.log = said.append
    tick(loop)
    np.testing.assert_array_equal(mask_of(toy, "day/img002"), truth(0))
    expected = np.where(inside(first, SIZE), truth(1), IGNORE)
    np.testing.assert_array_equal(mask_of(toy, "day/img003"), expected)
    (told,) = [line for line in said if "left out" in line]
    assert told == f"{part}: {(expected == IGNORE).sum()} pixel(s) outside the regions are left out"

    # The next round asks for the rest of it; an edit of the first answer changes its own regions.
    assert people.open_items()[0] == "day/img003/r1"
    second = asked_of(loop, "day/img003/r1")
    assert len(second) == REGIONS - len(first)
    assert not any(a.meets(b) for a in first for b in second)
    people.answer("day/img003/r1", truth(2))
    people.edit(edited, truth(3))
    answer_all(people, seed=10)
    assert tick(loop).startswith("finished day")  # 16 regions are answered
    expected = np.where(inside(first, SIZE), truth(3), truth(2))
    np.testing.assert_array_equal(mask_of(toy, "day/img003"), expected)
    # Two whole images taught from the start, 6 regions each, and 8 more every round.
    curve = learning_curve(loop, loop.position(), loop.workspace.manifest())
    assert [labels for labels, _ in curve] == [12, 20, 28]
    advice = advice_at(loop.workspace, "day/r2")
    assert (advice.unit, advice.forecast.num_left, advice.forecast.ahead) == ("region", 20, 8)
    known = {s.sample_id: s for s in loop.workspace.manifest() if s.regions}
    assert {name: sample.num_answers for name, sample in known.items()} == {
        "day/img002": 6,
        "day/img003": 6,
        "day/img004": 4,
    }
    assert all(sample.labelled and sample.unlabelled for sample in known.values())

    # A mask put together from two answers has both in its lineage, the edit in the first's place.
    lineage = lineage_of_models(loop, models_named(loop, "day/r2"))
    assert lineage.agree, lineage.differences
    asked_in = [one.asked_in for one in lineage.labels if one.sample_id == "day/img003"]
    assert asked_in == ["day/r0", "day/r1"]


def test_refused_regions_are_paid_for_and_empty_answers_asked_for_once_more(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, val=2)
    loop = open_toy(toy)
    tick(loop)
    whole, part = people.open_items()
    people.answer(whole, truth(0))
    outside = np.where(inside(asked_of(loop, part), SIZE), IGNORE, truth(0))
    people.answer(part, outside.astype(np.uint8))
    assert tick(loop) == "waiting 1/2: 1 open (day/r0)"
    people.skip(part)
    tick(loop)
    (refused,) = [s for s in loop.workspace.manifest() if s.skips]
    assert (refused.sample_id, refused.mask, refused.num_answers) == ("day/img003", "", 2)
    assert "day/img003" not in {item.rsplit("/", 1)[0] for item in people.open_items()}


def test_a_val_image_shows_what_was_drawn_at_random_alone(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=0)
    loop = open_toy(toy)
    tick(loop)
    answer_all(people)
    tick(loop)
    (judge,) = [s for s in loop.workspace.manifest() if s.split == "val"]
    assert judge.sample_id == "day/img001"  # its second region is the random one
    rows = parse_query(loop.workspace.show("day/r0", layout.QUERY).decode())
    (drawn,) = [row for row in rows if row.source == "audit"]
    expected = np.where(inside(drawn.regions, SIZE), truth(1), IGNORE)
    np.testing.assert_array_equal(mask_of(toy, "day/img001"), expected)
    assert judge.num_answers == 2  # both were paid for
    # What was drawn at random, and that alone, says how good the model is.
    told = parse_answers(loop.workspace.show("day/r0-labels", layout.ANSWERS).decode())
    (of_judge,) = [row for row in told if row.source == "audit"]
    assert of_judge.item_id == "day/img001/r0"
    assert of_judge.chance == pytest.approx(1 / (6 * REGIONS))
    assert of_judge.counts == compare(expected.astype(np.uint8), bands(*SIZE, 3))
    assert {row.item_id for row in told} == {"day/img000/r0", "day/img001/r0"}
    answer_all(people, seed=5)
    tick(loop)
    # The next random region lies in an image that teaches, or waits for its half of the picks.
    assert [s.sample_id for s in loop.workspace.manifest() if s.split == "val"] == ["day/img001"]


def test_a_ledger_and_inbox_lost_are_made_again(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    from flows.versions.rebuild_ledger import rebuild

    stage_domain(toy, "day", labelled=2, val=2)
    loop = open_toy(toy)
    tick(loop)
    answer_all(people)
    tick(loop)
    with session_scope(loop.ledger, read_only=True) as session:
        before = repository.facts(session)
    loop.ledger.close()
    for file in [*toy.glob(".ssl-loop/ledger.db*"), *(toy / layout.INBOX).iterdir()]:
        file.unlink()
    again = open_toy(toy)
    rebuild(again)
    with session_scope(again.ledger, read_only=True) as session:
        assert repository.facts(session)["query_item"] == before["query_item"]
        assert repository.facts(session)["annotation"] == before["annotation"]
    first = mask_of(toy, "day/img003")
    people.answer("day/img003/r1", truth(2))
    answer_all(people, seed=10)
    tick(again)
    merged = mask_of(toy, "day/img003")
    assert (merged[first != IGNORE] == first[first != IGNORE]).all()
    assert (merged != IGNORE).all()
