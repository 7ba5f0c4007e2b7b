"""Two people's answers that differ ask for a third look, and the star decides."""

from __future__ import annotations

import numpy as np
import pytest

from flows.annotators.label_studio_project import DISAGREEMENT, REVIEW
from flows.answers.disagreements import jaccard
from flows.answers.look_again import mark_for_review
from flows.steps.publish import asked_of_two
from pipeline.ids import sample_of
from pipeline.records.answers import compare
from tests.flows.answers.conftest import Desk
from tests.flows.conftest import truth

pytestmark = pytest.mark.programs


def task_data(desk: Desk, item_id: str) -> dict[str, str]:
    project = desk.loop.project("day")
    (task,) = [t for t in desk.people.tasks(project) if t.item_id == item_id]
    return task.data


def test_a_task_whose_answers_differ_says_so_until_one_is_starred(desk: Desk) -> None:
    item = desk.items[0]
    reason = task_data(desk, item)["reason"]
    first = desk.people.answer(item, truth(1), person="ana@example.org")
    desk.look()
    assert not task_data(desk, item).get(DISAGREEMENT)
    desk.people.answer(item, truth(2), person="bo@example.org")
    desk.look()
    marked = task_data(desk, item)
    assert marked[DISAGREEMENT] == "yes"
    assert marked["reason"].startswith("TWO ANSWERS DIFFER (agreement 0.1")
    assert reason in marked["reason"]
    desk.look()  # said once
    assert task_data(desk, item) == marked
    desk.people.star(first)
    desk.look()
    assert task_data(desk, item)[DISAGREEMENT] == ""
    assert task_data(desk, item)["reason"] == reason
    assert np.array_equal(desk.kept(item), truth(1))


def test_answers_that_agree_are_left_alone(desk: Desk) -> None:
    item = desk.items[0]
    other = truth(1).copy()
    other[0, :3] = (other[0, :3] + 1) % 3
    desk.people.answer(item, truth(1), person="ana@example.org")
    desk.people.answer(item, other, person="bo@example.org")
    desk.look()
    assert not task_data(desk, item).get(DISAGREEMENT)


def test_one_persons_second_answer_is_no_disagreement(desk: Desk) -> None:
    item = desk.items[0]
    desk.people.answer(item, truth(1), person="ana@example.org")
    desk.people.answer(item, truth(2), person="ana@example.org")
    desk.look()
    assert not task_data(desk, item).get(DISAGREEMENT)


def test_a_doubted_answers_task_says_so_until_it_is_doubted_no_more(desk: Desk) -> None:
    doubted, other = desk.items[:2]
    reason = task_data(desk, doubted)["reason"]
    for item in (doubted, other):
        desk.people.answer(item, truth(1))
    desk.look()
    doubts = {sample_of(doubted): "painted road, the model sees car near pixel 4, 8"}
    assert mark_for_review(desk.loop, "day", doubts) == 1
    marked = task_data(desk, doubted)
    assert marked[REVIEW] == "yes"
    assert marked["reason"].startswith("LOOK AGAIN: painted road, the model sees car")
    assert REVIEW not in task_data(desk, other)
    assert mark_for_review(desk.loop, "day", {}) == 0
    assert task_data(desk, doubted)[REVIEW] == ""
    assert task_data(desk, doubted)["reason"] == reason


def test_the_jaccard_index_is_the_mean_over_the_classes() -> None:
    one = np.array([[0, 0, 1, 1, 255]], np.uint8)
    other = np.array([[0, 1, 1, 1, 2]], np.uint8)
    assert jaccard(compare(one, other)) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert jaccard(()) is None


def test_the_share_of_a_query_that_two_are_asked_for_is_the_same_with_every_try() -> None:
    items = [f"day/img{number}/r0" for number in range(20)]
    chosen = asked_of_two(items, 0.25)
    assert len(chosen) == 5
    assert chosen == asked_of_two(list(reversed(items)), 0.25)
    assert asked_of_two(items, 0) == set()
    assert asked_of_two(items, 1) == set(items)
