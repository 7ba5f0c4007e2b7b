"""Answers on their way back from a real Label Studio."""

from __future__ import annotations

import pytest

from flows.annotators.annotator import Project
from flows.annotators.label_studio import LabelStudio
from flows.annotators.label_studio_project import RETURNED, RETURNED_TAB
from pipeline.errors import ServiceError
from tests.flows.annotators.conftest import MakeItems, answer, pull, push

pytestmark = pytest.mark.services


def test_a_skip_is_pulled_as_such(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    (task,) = push(annotator, project, make_items(1))
    answer(annotator, task, result=[], was_cancelled=True)
    (pulled,) = pull(annotator, project)
    assert pulled.was_cancelled
    assert pulled.result == []


def test_a_double_submit_is_two_annotations_of_one_task(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    (task,) = push(annotator, project, make_items(1))
    ids = [answer(annotator, task)["id"] for _ in range(2)]
    pulled = pull(annotator, project)
    assert [one.annotation_id for one in pulled] == ids
    assert pulled[0].updated_at < pulled[1].updated_at


def test_every_version_shows_in_the_list_without_masks(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    tasks = push(annotator, project, make_items(3))
    made = [answer(annotator, task) for task in tasks[:2]]
    first = annotator.tasks(project)
    assert [sorted(task.versions) for task in first] == [[made[0]["id"]], [made[1]["id"]], []]
    pulled = pull(annotator, project)
    assert {one.annotation_id: one.updated_at for one in pulled} == first[0].versions | first[
        1
    ].versions
    annotator.http.patch(f"/api/annotations/{made[0]['id']}/", {"result": tasks[0].result[:1]})
    edited = annotator.tasks(project)
    assert edited[0].versions != first[0].versions
    assert edited[1:] == first[1:]
    (one,) = annotator.pull(project, [tasks[0].task_id]).annotations
    assert one.created_at == pulled[0].created_at
    assert (len(one.result), one.ground_truth) == (1, False)
    annotator.http.patch(f"/api/annotations/{made[0]['id']}/", {"ground_truth": True})
    starred = annotator.tasks(project)
    assert starred[0].versions != edited[0].versions
    (one,) = annotator.pull(project, [tasks[0].task_id]).annotations
    assert one.ground_truth


def test_more_tasks_than_fit_one_answer_are_all_listed(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.annotators.label_studio.PAGE", 2)
    tasks = push(annotator, project, make_items(5))
    for task in tasks[::-1]:
        answer(annotator, task)
    assert [task.task_id for task in annotator.tasks(project)] == [task.task_id for task in tasks]
    assert [one.task_id for one in pull(annotator, project)] == [t.task_id for t in tasks[::-1]]


def test_an_answer_deleted_and_a_task_deleted_are_not_listed(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(3)
    tasks = push(annotator, project, items)
    made = answer(annotator, tasks[0])
    annotator.http.delete(f"/api/annotations/{made['id']}/")
    annotator.http.delete(f"/api/tasks/{tasks[1].task_id}/")
    listed = annotator.tasks(project)
    assert [(task.item_id, task.versions) for task in listed] == [
        (items[0].item_id, {}),
        (items[2].item_id, {}),
    ]
    assert annotator.pull(project, [tasks[1].task_id]).annotations == []


def test_the_same_request_twice_gives_one_of_two_tasks(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(2)
    first = push(annotator, project, items)
    data = annotator.http.get(f"/api/tasks/{first[0].task_id}/")["data"]
    base = f"/api/projects/{project.project_id}/import"
    annotator.http.post(base, [{"data": data}])
    annotator.http.post(base, [{"data": {**data, "workspace": "fedcba987654"}}])
    assert push(annotator, project, items) == first
    assert [task.item_id for task in annotator.tasks(project)].count(items[0].item_id) == 3


def test_a_task_made_by_hand_has_no_item(annotator: LabelStudio, project: Project) -> None:
    base = f"/api/projects/{project.project_id}/import"
    annotator.http.post(base, [{"data": {"image": "/x.png"}}])
    (task,) = annotator.tasks(project)
    assert (task.item_id, task.workspace_id) == ("", "")


def test_what_the_server_cannot_give_is_set_aside_and_the_rest_is_read(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    """A lone surrogate is taken with 500, and then no answer that holds it can be sent."""
    tasks = push(annotator, project, make_items(3))
    for task in tasks:
        answer(annotator, task)
    broken = '{"result": [{"id": "x", "type": "choices", "value": {"choices": ["\\ud800"]}}]}'
    annotator.http.client.post(
        f"/api/tasks/{tasks[1].task_id}/annotations/",
        content=broken,
        headers={"Content-Type": "application/json"},
    )
    listed = annotator.tasks(project)
    assert [task.task_id for task in listed] == [task.task_id for task in tasks]
    pulled = annotator.pull(project, [task.task_id for task in tasks])
    assert [one.task_id for one in pulled.annotations] == [tasks[0].task_id, tasks[2].task_id]
    assert list(pulled.unreadable) == [tasks[1].task_id]
    base = f"/api/projects/{project.project_id}/import"
    annotator.http.client.post(
        base,
        content='[{"data": {"image": "\\ud800"}}]',
        headers={"Content-Type": "application/json"},
    )
    push(annotator, project, make_items(4))
    listed = annotator.tasks(project)
    assert len(listed) == 5
    assert [task.data == {} for task in listed] == [False, False, False, True, False]


def test_a_list_that_was_cut_off_is_not_believed(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(annotator, project, make_items(3))
    get = annotator.http.get

    def cut(path: str, **params: object) -> object:
        found = get(path, **params)
        return {"tasks": [], "total": 0} if path == "/api/tasks" else found

    monkeypatch.setattr(annotator.http, "get", cut)
    with pytest.raises(ServiceError, match="counts 3 tasks and lists 0"):
        annotator.tasks(project)


@pytest.mark.parametrize(
    "answer_",
    [[], {}, {"tasks": None, "total": 1}, {"tasks": [{"id": "x"}], "total": 1},
     {"tasks": [[]], "total": 1}, {"tasks": [{"id": 1, "data": {}}], "total": 1},
     {"tasks": [], "total": "3"}],
)  # fmt: skip
def test_json_of_another_shape_is_a_clear_error(
    annotator: LabelStudio, project: Project, monkeypatch: pytest.MonkeyPatch, answer_: object
) -> None:
    monkeypatch.setattr(annotator.http, "get", lambda *a, **k: answer_)
    with pytest.raises(ServiceError, match="another shape"):
        annotator.tasks(project)


def test_answers_are_put_back_and_noted_on_their_task(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(1)
    (pushed,) = push(annotator, project, items)
    body = {"result": pushed.result, "lead_time": 5.5, "was_cancelled": False, "ground_truth": True}
    made = annotator.annotate(pushed.task_id, body)
    (one,) = pull(annotator, project)
    assert (one.annotation_id, one.lead_time_s, one.ground_truth) == (made.annotation_id, 5.5, True)
    (task,) = annotator.tasks(project)
    annotator.note(task, {"reason": "SENT BACK", RETURNED: "yes"})
    (noted,) = annotator.tasks(project)
    assert noted.data == {**task.data, "reason": "SENT BACK", RETURNED: "yes"}
    tabs = annotator.http.get("/api/dm/views/", project=project.project_id)
    (tab,) = [tab for tab in tabs if tab["data"]["title"] == RETURNED_TAB]
    listed = annotator.http.get("/api/tasks", view=tab["id"], project=project.project_id)["tasks"]
    assert [row["id"] for row in listed] == [pushed.task_id]
    assert annotator.image(noted) == items[0].image.read_bytes()
    annotator.note(noted, {RETURNED: ""})
    assert (
        annotator.http.get("/api/tasks", view=tab["id"], project=project.project_id)["tasks"] == []
    )
