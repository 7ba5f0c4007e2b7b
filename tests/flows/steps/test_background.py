"""annotation.background through the loop: asked, answered, merged, verified, made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import repository
from db.session import open_ledger, session_scope
from flows.annotators.masks import as_painted, decode_annotation, encode_result
from flows.loop import Loop
from flows.tick import tick
from flows.verify import judge
from flows.verify.evidence import Evidence
from flows.versions.rebuild_ledger import rebuild
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.records.answers import parse_answers
from pipeline.records.regions import Box, inside, kept_inside
from tests.flows.conftest import CLASSES, SIZE, stage_domain, truth
from tests.flows.toy_stages import bands
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
SKY = CLASSES.index("sky")


def set_background(toy: Path, name: str | None, **others: dict) -> None:
    workspace = Workspace(toy)
    workspace.write_params({"annotation": {"background": name}, **others})
    workspace.commit([layout.PARAMS], f"Background {name}")


@pytest.fixture
def toy(toy: Path) -> Path:
    """Sky is what is left over."""
    set_background(toy, "sky")
    return toy


def mask_of(root: Path, item_id: str) -> np.ndarray:
    domain, stem, _ = item_id.split("/")
    return np.asarray(Image.open(root / layout.sample_png(layout.masks_dir(domain), stem)))


def submit(people: FakeAnnotator, item_id: str, mask_HW: np.ndarray) -> None:
    """All but the background is painted."""
    result = encode_result(as_painted(mask_HW, CLASSES, "sky"), [*CLASSES, "unknown"], item_id)
    assert "sky" not in {region["value"]["labels"][0] for region in result}
    people.submit(item_id, result)


def findings(loop: Loop) -> list[str]:
    """Of the invariants about answers."""
    return [one.what for one in judge(Evidence(loop), ("records", "masks", "merged")).findings]


def verdicts(loop: Loop) -> dict[str, str]:
    with session_scope(loop.ledger, read_only=True) as session:
        rows = repository.annotation_versions(session)
    return {row.item_id: row.verdict.value for row in rows}


def test_answers_keep_the_meaning_they_were_asked_with_when_the_knob_is_changed(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, val=1)
    loop = open_toy(toy)
    tick(loop)
    tasks = people.all_tasks()
    for task in tasks:
        assert "sky" not in {region["value"]["labels"][0] for region in task["result"]}
        shown = decode_annotation(task["result"], [], CLASSES, size=SIZE, background="sky")
        np.testing.assert_array_equal(shown, bands(*SIZE, 3, first=2))
    empty, painted, unknown = people.open_items()
    people.submit(empty, [])
    submit(people, painted, truth(1))
    set_background(toy, "car")  # in mid-round
    hole = truth(2)
    hole[5:9, 5:9] = 255
    submit(people, unknown, hole)
    tick(loop)
    assert set(verdicts(loop).values()) == {"accepted"}
    assert (mask_of(toy, empty) == SKY).all()
    np.testing.assert_array_equal(mask_of(toy, painted), truth(1))
    np.testing.assert_array_equal(mask_of(toy, unknown), hole)

    # The next round is asked under the new one; what was answered is read under the old.
    late, bare, other = people.open_items()
    assert late.endswith("/r1")
    asked = [task for task in people.all_tasks() if task["data"]["item_id"] == late]
    assert "car" not in {region["value"]["labels"][0] for region in asked[0]["result"]}
    set_background(toy, None)
    people.submit(late, [])
    people.update(people.annotation_ids()[0], result=[])  # the empty one again, as it was
    submit(people, bare, truth(4))
    people.answer(other, truth(5))
    assert tick(loop).startswith("finished day")
    assert (mask_of(toy, empty) == SKY).all()
    assert (mask_of(toy, late) == CLASSES.index("car")).all()
    expected = np.where(truth(4) == SKY, CLASSES.index("car"), truth(4))
    np.testing.assert_array_equal(mask_of(toy, bare), expected)
    assert findings(loop) == []

    with session_scope(loop.ledger, read_only=True) as session:
        before = repository.facts(session)
    again = open_ledger(toy / "again.db")
    rebuild(Loop(workspace=loop.workspace, ledger=again, log=loop.log))
    with session_scope(again, read_only=True) as session:
        assert repository.facts(session)["annotation"] == before["annotation"]
    again.close()


def test_a_model_that_says_all_is_background_is_compared_too(
    toy: Path, open_toy: Open, people: FakeAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_domain(toy, "day", labelled=2, val=1)
    loop = open_toy(toy)
    monkeypatch.setattr("flows.steps.publish.as_painted", lambda mask, *_: np.full_like(mask, 255))
    tick(loop)
    assert [task["result"] for task in people.all_tasks()] == [[]] * 3
    for item_id in people.open_items():
        submit(people, item_id, truth(0))
    tick(loop)
    answers = parse_answers(loop.workspace.file_at("HEAD", layout.ANSWERS))
    assert len(answers) == 3
    for answer in answers:
        wrong = sum(pixels for true, predicted, pixels in answer.counts if true != predicted)
        assert {predicted for _, predicted, _ in answer.counts} == {SKY}
        assert wrong == int((truth(0) != SKY).sum())


def test_outside_the_regions_that_were_asked_for_nobody_says_background(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    acquire = {"query_unit": "region", "region_size_px": 48, "query_size": 8}
    set_background(toy, "sky", acquire=acquire, loop={"budget": 8})
    stage_domain(toy, "day", labelled=2, val=1)
    loop = open_toy(toy)
    tick(loop)
    whole, part = people.open_items()
    with session_scope(loop.ledger, read_only=True) as session:
        item = repository.find_query_item(session, part)
    boxes = [*map(tuple, (region["box"] for region in item.regions))]
    people.submit(part, [])
    submit(people, whole, truth(0))
    tick(loop)
    np.testing.assert_array_equal(mask_of(toy, whole), truth(0))
    found = mask_of(toy, part)
    asked_HW = inside([Box(*box) for box in boxes], SIZE)
    np.testing.assert_array_equal(found, np.where(asked_HW, SKY, 255))
    with session_scope(loop.ledger, read_only=True) as session:
        rows = {row.item_id: row for row in repository.annotation_versions(session)}
    proposed = kept_inside(bands(*SIZE, 3, first=2), [Box(*box) for box in boxes])
    assert rows[part].corrected_pixels == int((proposed[asked_HW] != SKY).sum())
    assert findings(loop) == []
