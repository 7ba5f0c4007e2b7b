"""Answers on their way back from a real Label Studio."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from flows.annotators.label_studio import LabelStudio
from flows.annotators.types import Project
from pipeline.errors import ServiceError
from tests.flows.annotators.conftest import MakeItems, answer, next_task, push

pytestmark = pytest.mark.services


def test_a_skip_is_pulled_as_such(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    (task,) = push(annotator, project, make_items(1))
    answer(annotator, task, result=[], was_cancelled=True)
    (pulled,) = annotator.pull(project, since=None)
    assert pulled.was_cancelled
    assert pulled.result == []


def test_a_double_submit_is_two_annotations_of_one_task(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    (task,) = push(annotator, project, make_items(1))
    ids = [answer(annotator, task)["id"] for _ in range(2)]
    pulled = annotator.pull(project, since=None)
    assert [one.annotation_id for one in pulled] == ids
    assert pulled[0].updated_at < pulled[1].updated_at


def test_an_edit_after_submit_is_seen_from_the_watermark_on(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    tasks = push(annotator, project, make_items(3))
    made = [answer(annotator, task) for task in tasks]
    first = annotator.pull(project, since=None)
    watermark = max(one.updated_at for one in first)
    assert {one.task_id for one in annotator.pull(project, since=watermark)} == {tasks[2].task_id}
    annotator.http.patch(f"/api/annotations/{made[0]['id']}/", {"result": tasks[0].result[:1]})
    seen = {one.annotation_id: one for one in annotator.pull(project, since=watermark)}
    assert seen.keys() == {made[0]["id"], made[2]["id"]}
    edited = seen[made[0]["id"]]
    assert edited.updated_at > watermark
    assert edited.created_at == first[0].created_at
    assert len(edited.result) == 1
    assert annotator.pull(project, since=edited.updated_at + timedelta(minutes=1)) == []


def test_more_tasks_than_fit_one_answer_are_all_pulled(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.annotators.label_studio.PAGE", 2)
    tasks = push(annotator, project, make_items(5))
    for task in tasks[::-1]:
        answer(annotator, task)
    pulled = annotator.pull(project, since=None)
    assert [one.task_id for one in pulled] == [task.task_id for task in tasks[::-1]]


def test_a_deleted_annotation_is_gone_and_a_deleted_task_is_found_gone(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(3)
    tasks = push(annotator, project, items)
    made = answer(annotator, tasks[0])
    annotator.reopen(made["id"])
    annotator.reopen(made["id"])  # gone already
    assert annotator.pull(project, since=None) == []
    assert next_task(annotator, project)["id"] == tasks[0].task_id  # asked for again
    annotator.http.delete(f"/api/tasks/{tasks[1].task_id}/")
    found = annotator.find_tasks(project, [item.item_id for item in items])
    assert found == {items[i].item_id: tasks[i].task_id for i in (0, 2)}


def test_duplicates_that_others_made_are_named(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(2)
    (task, _) = push(annotator, project, items)
    data = annotator.http.get(f"/api/tasks/{task.task_id}/")["data"]
    annotator.http.post(f"/api/projects/{project.project_id}/import", [{"data": data}])
    named = rf"{re.escape(items[0].item_id)}: tasks \[{task.task_id}, \d+\]"
    with pytest.raises(ServiceError, match=named):
        push(annotator, project, items)


def test_a_task_made_by_hand_has_no_item(annotator: LabelStudio, project: Project) -> None:
    base = f"/api/projects/{project.project_id}/import"
    made = annotator.http.post(base, [{"data": {"image": "/x.png"}}], return_task_ids="true")
    annotator.http.post(f"/api/tasks/{made['task_ids'][0]}/annotations/", {"result": []})
    assert [one.item_id for one in annotator.pull(project, since=None)] == [""]
