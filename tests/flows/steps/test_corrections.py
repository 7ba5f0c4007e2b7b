"""The loop with query_unit: correction: what is asked, kept, merged, and made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import repository
from db.session import session_scope
from flows.loop import Loop
from flows.tick import tick
from flows.verify import judge
from flows.verify.evidence import Evidence
from flows.views.status import status
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.records.answers import parse_answers
from pipeline.records.manifest import Sample
from pipeline.types import IGNORE
from tests.flows.conftest import SIZE, stage_domain
from tests.flows.toy_stages import bands
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
SHOWN = bands(*SIZE, 3, first=2)  # of a teacher of two images
KEPT = ("versions", "records", "masks", "merged", "manifest", "inbox", "asked")


@pytest.fixture
def toy(toy: Path) -> Path:
    """Asks for corrections in 4 images at a time."""
    workspace = Workspace(toy)
    acquire = {"query_unit": "correction", "query_size": 4}
    workspace.write_params({"acquire": acquire, "loop": {"budget": 12}})
    workspace.commit([layout.PARAMS], "Ask for corrections")
    return toy


def mask_of(root: Path, sample_id: str) -> np.ndarray:
    domain, stem = sample_id.split("/")
    return np.asarray(Image.open(root / layout.sample_png(layout.masks_dir(domain), stem)))


def corrected(seed: int) -> np.ndarray:
    """The pre-annotation with one patch painted in another class."""
    mask = SHOWN.copy()
    mask[4 + seed : 12 + seed, 10:30] = (mask[4 + seed : 12 + seed, 10:30] + 1) % 3
    return mask


def labels(answer: np.ndarray) -> np.ndarray:
    return np.where(answer != SHOWN, answer, np.uint8(IGNORE))


def sources(loop: Loop, round_index: int) -> dict[str, str]:
    with session_scope(loop.ledger, read_only=True) as session:
        items = repository.query_items(session, "day", round_index)
        return {item.item_id: item.source.value for item in items}


def sample_of(loop: Loop, item_id: str) -> Sample:
    name = item_id.rsplit("/", 1)[0]
    (found,) = [s for s in loop.workspace.manifest() if s.sample_id == name]
    return found


def test_only_what_was_changed_becomes_a_label(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, val=2)
    loop = open_toy(toy)
    tick(loop)
    asked = sources(loop, 0)
    audit = [item for item, source in asked.items() if source == "audit"]
    others = [item for item, source in asked.items() if source == "strategy"]
    assert len(audit) == 1
    assert len(others) == 3
    for task in people.all_tasks():
        told = task["data"]["item_id"] in others
        assert task["data"]["corrections"] == told
    for place, item_id in enumerate([*audit, *others[:2]]):
        edited = people.answer(item_id, corrected(place))
    people.answer(others[2], SHOWN)  # nothing to correct is an answer too
    tick(loop)
    np.testing.assert_array_equal(mask_of(toy, audit[0].rsplit("/", 1)[0]), corrected(0))
    for place, item_id in enumerate(others[:2], start=1):
        found = mask_of(toy, item_id.rsplit("/", 1)[0])
        np.testing.assert_array_equal(found, labels(corrected(place)))
    assert (mask_of(toy, others[2].rsplit("/", 1)[0]) == IGNORE).all()
    assert [sample_of(loop, item).corrected for item in [*audit, *others]] == [0, 1, 1, 1]
    assert all(sample_of(loop, item).unlabelled for item in others)
    assert not any(sample_of(loop, item).candidate for item in others)
    assert status(loop).corrected == 3
    again = {item.rsplit("/", 1)[0] for item in sources(loop, 1)}
    assert not again & {item.rsplit("/", 1)[0] for item in asked}
    told = parse_answers(loop.workspace.show("day/r0-labels", layout.ANSWERS).decode())
    assert {row.item_id for row in told if row.counts} == set(audit)  # others are no fair judge
    assert judge(Evidence(loop), KEPT).findings == ()

    # An edit that comes late is held against what was shown then.
    people.edit(edited, corrected(9))
    for place, item_id in enumerate(people.open_items()):
        people.answer(item_id, corrected(place))
    tick(loop)
    np.testing.assert_array_equal(mask_of(toy, others[1].rsplit("/", 1)[0]), labels(corrected(9)))
    assert judge(Evidence(loop), KEPT).findings == ()


def test_a_changed_unit_leaves_older_answers_as_they_were_asked(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, val=2)
    loop = open_toy(toy)
    tick(loop)
    item_id = next(item for item, source in sources(loop, 0).items() if source == "strategy")
    loop.workspace.write_params({"acquire": {"query_unit": "image"}})
    for place, other in enumerate(people.open_items()):
        people.answer(other, corrected(place))
    tick(loop)
    assert sample_of(loop, item_id).corrected == 1
    assert (mask_of(toy, item_id.rsplit("/", 1)[0]) == IGNORE).any()


def test_a_ledger_that_was_lost_is_made_again(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    from flows.versions.rebuild_ledger import rebuild

    stage_domain(toy, "day", labelled=2, val=2)
    loop = open_toy(toy)
    tick(loop)
    for place, item_id in enumerate(people.open_items()):
        people.answer(item_id, corrected(place))
    tick(loop)
    with session_scope(loop.ledger, read_only=True) as session:
        before = repository.facts(session)
    loop.ledger.close()
    for file in [*toy.glob(".ssl-loop/ledger.db*"), *(toy / layout.INBOX).iterdir()]:
        file.unlink()
    again = open_toy(toy)
    rebuild(again)
    with session_scope(again.ledger, read_only=True) as session:
        assert repository.facts(session)["annotation"] == before["annotation"]
    assert judge(Evidence(again), KEPT).findings == ()
