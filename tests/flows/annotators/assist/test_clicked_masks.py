"""From clicks to regions: whose image, which class, what is kept, what a click takes away."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.annotators import brush_rle
from flows.annotators.assist import click_log
from flows.annotators.assist.click_log import kept_clicks
from flows.annotators.assist.clicked_masks import ClickedMasks
from flows.annotators.assist.current_engine import CurrentEngine, QueryPreparer, Ready
from flows.annotators.assist.task_images import TaskImages
from flows.annotators.masks import decode_annotation
from pipeline import layout
from pipeline.errors import AnnotationError, ModelError, ServiceError
from pipeline.records.query import write_query
from tests.flows.annotators.assist.conftest import (
    CAR,
    CLASSES,
    SIZE,
    ColourEngine,
    box,
    point,
    question,
)

ON_THE_CAR, ON_ITS_ROOF = (11.5, 22.5), (13.5, 30.5)


def shown(prediction: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The mask of the one region."""
    (region,) = prediction["result"]
    return brush_rle.decode(region["value"]["rle"], *SIZE) > 127


def car(*, roof: bool) -> np.ndarray[Any, Any]:
    mask_HW = np.zeros(SIZE, dtype=bool)
    mask_HW[CAR] = True
    mask_HW[12:15, 25:35] = roof
    return mask_HW


def test_a_click_gives_a_region_of_the_class_that_answers_can_be_read_of(
    masks: ClickedMasks, root: Path
) -> None:
    given = masks.predict(question(root, point(*ON_THE_CAR)))
    np.testing.assert_array_equal(shown(given), car(roof=False))
    mask_HW = decode_annotation(given["result"], [], CLASSES, size=SIZE)
    np.testing.assert_array_equal(mask_HW == 1, car(roof=False))
    assert given["model_version"] == "colour"


def test_all_marks_of_a_question_count(masks: ClickedMasks, root: Path) -> None:
    both = [*point(*ON_THE_CAR), *point(*ON_ITS_ROOF, number=1)]
    np.testing.assert_array_equal(shown(masks.predict(question(root, both))), car(roof=True))
    boxed = masks.predict(question(root, box(10, 20, 20, 40)))
    np.testing.assert_array_equal(shown(boxed), car(roof=True))


def test_a_click_beside_takes_away_from_the_newest_mask_there(
    masks: ClickedMasks, root: Path
) -> None:
    whole = masks.predict(question(root, box(10, 20, 20, 40)))
    masks.predict(question(root, point(1, 1)))  # another one, elsewhere
    less = masks.predict(question(root, point(*ON_ITS_ROOF, positive=False)))
    assert less["result"][0]["id"] == whole["result"][0]["id"]  # so that it is replaced
    np.testing.assert_array_equal(shown(less), car(roof=False))
    none = masks.predict(question(root, point(*ON_THE_CAR, positive=False)))
    assert none["result"][0]["id"] == whole["result"][0]["id"]
    assert not shown(none).any()  # nothing is left


@pytest.mark.parametrize(
    "beside",
    [
        {"entries": point(2, 2, positive=False)},
        {"entries": point(*ON_ITS_ROOF, positive=False, label="road")},
        {"entries": point(*ON_ITS_ROOF, positive=False), "task": 8},
    ],
)
def test_a_click_that_takes_away_from_nothing_is_refused(
    masks: ClickedMasks, root: Path, beside: dict[str, Any]
) -> None:
    masks.predict(question(root, box(10, 20, 20, 40)))
    with pytest.raises(AnnotationError, match="no mask of that class there"):
        masks.predict(question(root, beside.pop("entries"), **beside))


@pytest.mark.parametrize(
    "data",
    [
        {"workspace": "ba9876543210"},
        {"workspace": None},
        {"image_sha256": "0" * 64},
        {"image_sha256": None},
        {"item_id": "day/7/r0"},
        {"item_id": "day/1/r0"},
        {"item_id": "../../etc/passwd"},
        {"item_id": ""},
        {"item_id": ["day/0/r0"]},
    ],
)
def test_tasks_of_others_are_refused(masks: ClickedMasks, root: Path, data: dict[str, Any]) -> None:
    with pytest.raises(AnnotationError, match="not one that this workspace sent"):
        masks.predict(question(root, point(*ON_THE_CAR), **data))
    assert kept_clicks(root) == []


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"tasks": [{"id": 1}], "params": {}},
        {"tasks": [{"id": 1}], "params": {"context": None}},
        {"tasks": [], "params": {"context": {}}},
        {"tasks": [{"id": 1}, {"id": 2}], "params": {"context": {}}},
        {"tasks": [7], "params": {"context": {}}},
        {"tasks": [{"id": "1", "data": {}}], "params": {"context": {}}},
        {"tasks": [{"id": 1}], "params": {"context": {}}},
    ],
)
def test_what_is_no_question_of_a_person_is_refused(masks: ClickedMasks, body: Any) -> None:
    with pytest.raises(AnnotationError):
        masks.predict(body)


def test_an_image_of_another_size_than_people_see_is_refused(
    masks: ClickedMasks, root: Path
) -> None:
    entries = [{**entry, "original_width": 120} for entry in point(2, 2)]
    with pytest.raises(AnnotationError, match=r"shows \(40, 120\).*the image is \(40, 60\)"):
        masks.predict(question(root, entries))


def test_what_was_clicked_is_kept(masks: ClickedMasks, root: Path) -> None:
    masks.predict(question(root, point(*ON_THE_CAR)))
    masks.predict(question(root, box(10, 20, 20, 40)))
    masks.predict(question(root, point(*ON_ITS_ROOF, positive=False)))
    first, second, third = kept_clicks(root)
    assert (first.item_id, first.task_id, first.class_name) == ("day/0/r0", 7, "car")
    assert (first.engine, first.on, first.boxes) == ("colour", [(11.5, 22.5)], [])
    assert first.pixels == int(car(roof=False).sum())
    assert 0 <= first.seconds < 60
    assert second.boxes == [(10, 20, 20, 40)]
    assert (third.boxes, third.beside) == ([(10, 20, 20, 40)], [(13.5, 30.5)])
    assert first.at < second.at < third.at


def test_kept_clicks_are_bounded_and_read_past_damage(
    masks: ClickedMasks, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_log, "LIMIT_BYTES", 1000)
    for _ in range(40):
        masks.predict(question(root, point(*ON_THE_CAR)))
    sizes = [path.stat().st_size for path in (root / layout.PRIVATE).glob("clicked*")]
    assert len(sizes) == 2
    assert max(sizes) < 1500
    kept = len(kept_clicks(root))
    with (root / layout.CLICKED).open("a") as file:
        file.write('{"at": "2026-11-30T10:00:00+00:00", "item\n\n7\n' + json.dumps({}) + "\n")
    assert len(kept_clicks(root)) == kept > 2


def test_a_full_disk_costs_no_mask(
    masks: ClickedMasks, root: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / layout.CLICKED).mkdir(parents=True)  # nothing can be added to it
    np.testing.assert_array_equal(
        shown(masks.predict(question(root, point(*ON_THE_CAR)))), car(roof=False)
    )
    assert "a click is not kept" in said[-1]


def test_the_manifest_is_read_again_when_it_was_replaced(
    masks: ClickedMasks, root: Path, images: TaskImages
) -> None:
    masks.predict(question(root, point(*ON_THE_CAR)))
    text = (root / layout.MANIFEST).read_text()
    beside = root / "beside.csv"
    beside.write_text("\n".join(line for line in text.splitlines() if "day/0" not in line) + "\n")
    beside.replace(root / layout.MANIFEST)
    with pytest.raises(AnnotationError, match="not one that this workspace sent"):
        masks.predict(question(root, point(*ON_THE_CAR)))


def test_an_engine_is_renewed_and_the_old_one_stays_where_no_new_one_can_be_made(
    said: list[str],
) -> None:
    of: list[Any] = [None]
    made: list[ColourEngine] = []

    def make() -> Ready:
        if of[0] == "damaged":
            raise ModelError("half a teacher")
        made.append(ColourEngine())
        return Ready(engine=made[-1], class_names=CLASSES)

    current = CurrentEngine(make, lambda: of[0], said.append)
    current.renew()
    with pytest.raises(ServiceError, match="not ready yet"):
        current.get(timeout_s=0)
    for each in ("first", "first", "damaged", None, "damaged"):
        of[0] = each
        current.renew()
        assert current.get().engine is made[0]
    assert [line for line in said if "half a teacher" in line] == [said[-1]]
    of[0] = "second"
    current.renew()
    assert current.get().engine is made[1]
    assert len(made) == 2


def test_images_of_the_query_are_prepared_in_its_order_once(
    root: Path, images: TaskImages, current: CurrentEngine, engine: ColourEngine, said: list[str]
) -> None:
    version = [0]
    preparer = QueryPreparer(current, images, lambda: version[0], said.append)
    preparer.look()
    assert engine.prepared == []
    said_of = {"score": 0.5, "reason": "because", "source": "strategy"}
    picks: list[Any] = [SimpleNamespace(sample_id=f"day/{n}", **said_of) for n in (1, 0)]
    write_query(root / layout.QUERY, picks, num_candidates=2)
    version[0] = 1
    preparer.look()
    preparer.look()
    assert engine.prepared == ["1.png", "0.png"]
