"""The adapter against a real Label Studio."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.annotators import ANNOTATORS
from flows.annotators.label_studio import BATCH, LabelStudio, fit_title
from flows.annotators.label_studio_project import SAMPLING, TAB
from flows.annotators.masks import brush_region, decode_annotation
from flows.annotators.types import Annotator, Project, PushedTask, PushItem
from pipeline.errors import AnnotationError, DataError, ServiceError
from tests.flows.annotators.conftest import CLASSES, MakeItems
from tests.label_studio_server import Server

pytestmark = pytest.mark.services


def push(annotator: LabelStudio, project: Project, items: list[PushItem]) -> list[PushedTask]:
    return annotator.push(
        project, items, model_version="day-r0", on_progress=lambda done, total: None
    )


def answer(annotator: LabelStudio, task: PushedTask, **changes: Any) -> dict[str, Any]:
    """Submit the pre-annotation as it is, as the browser does."""
    body = {
        "result": task.result,
        "lead_time": 12.5,
        "parent_prediction": task.prediction_id,
        **changes,
    }
    return annotator.http.post(f"/api/tasks/{task.task_id}/annotations/", body)


def next_task(annotator: LabelStudio, project: Project) -> dict[str, Any]:
    return annotator.http.get(f"/api/projects/{project.project_id}/next")


def test_the_table_gives_an_annotator_for_an_address_and_a_token(label_studio: Server) -> None:
    annotator: Annotator = ANNOTATORS["label_studio"](label_studio.url, label_studio.token)
    assert annotator.ensure_project("from the table", CLASSES).project_id > 0


def test_a_project_is_made_once_with_what_annotators_need(
    annotator: LabelStudio, project: Project, title: str, label_studio: Server
) -> None:
    assert annotator.ensure_project(title, CLASSES) == project
    another = LabelStudio(label_studio.url + "/", label_studio.token)
    assert another.ensure_project(title, CLASSES) == project
    made = annotator.http.get(f"/api/projects/{project.project_id}/")
    assert made["sampling"] == SAMPLING
    assert made["maximum_annotations"] == 1
    assert made["show_instruction"]
    assert "eraser" in made["expert_instruction"]
    labels = made["parsed_label_config"]["label"]
    assert labels["labels"] == CLASSES
    assert len({label["background"] for label in labels["labels_attrs"].values()}) == len(CLASSES)
    tabs = annotator.http.get("/api/dm/views/", project=project.project_id)
    assert [tab["data"]["title"] for tab in tabs] == [TAB]


def test_other_classes_in_a_project_that_exists_are_refused(
    annotator: LabelStudio, project: Project, title: str
) -> None:
    with pytest.raises(ServiceError, match="masks would be read wrongly"):
        annotator.ensure_project(title, CLASSES[::-1])


def test_two_projects_of_one_title_are_refused_by_number(
    annotator: LabelStudio, project: Project, title: str
) -> None:
    twin = annotator.http.post("/api/projects/", {"title": title, "label_config": "<View/>"})
    with pytest.raises(ServiceError, match=rf"2 projects.*{project.project_id}, {twin['id']}"):
        annotator.ensure_project(title, CLASSES)


def test_a_title_that_contains_another_is_another_project(
    annotator: LabelStudio, project: Project, title: str
) -> None:
    assert annotator.ensure_project(f"{title} b", CLASSES).project_id != project.project_id
    assert annotator.ensure_project(title, CLASSES) == project


def test_a_title_too_long_or_too_short_is_fitted(annotator: LabelStudio) -> None:
    long = "ssl-loop: a workspace with quite a long name / " + "domain" * 5
    made = annotator.ensure_project(long, CLASSES)
    assert len(made.title) <= 50
    assert annotator.ensure_project(long, CLASSES) == made
    assert annotator.ensure_project(long + "x", CLASSES).project_id != made.project_id
    assert annotator.ensure_project("ab", CLASSES).title == fit_title("ab")


def test_the_round_trip_is_exact(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(3, size=(47, 65))
    tasks = push(annotator, project, items)
    assert [task.item_id for task in tasks] == [item.item_id for item in items]
    for task in tasks:
        answer(annotator, task)
    pulled = annotator.pull(project, since=None)
    assert [one.item_id for one in pulled] == [item.item_id for item in items]
    for item, task, one in zip(items, tasks, pulled, strict=True):
        assert item.pre_annotation_HW is not None
        mask = decode_annotation(one.result, task.result, CLASSES, size=(47, 65))
        np.testing.assert_array_equal(mask, item.pre_annotation_HW)
        assert one.task_id == task.task_id
        assert one.annotator == "annotator@example.com"
        assert one.lead_time_s == 12.5
        assert not one.was_cancelled
        assert one.created_at.tzinfo is not None
        assert abs(datetime.now(UTC) - one.created_at) < timedelta(minutes=5)
        assert one.raw["parent_prediction"] == task.prediction_id


def test_the_image_that_is_shown_is_the_one_that_was_sent(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(2)
    for item, task in zip(items, push(annotator, project, items), strict=True):
        data = annotator.http.get(f"/api/tasks/{task.task_id}/")["data"]
        assert data["sample_id"] == item.sample_id
        assert annotator.http.client.get(data["image"]).content == item.image.read_bytes()


def test_pushing_again_finds_the_same_tasks(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(BATCH + 3)
    done: list[tuple[int, int]] = []
    first = annotator.push(
        project, items[:5], model_version="day-r0", on_progress=lambda *n: done.append(n)
    )
    again = annotator.push(
        project, items, model_version="day-r0", on_progress=lambda *n: done.append(n)
    )
    assert again[:5] == first
    assert push(annotator, project, items) == again
    assert len({task.task_id for task in again}) == len(items)
    assert done == [(5, 5), (BATCH, BATCH + 3), (BATCH + 3, BATCH + 3)]
    assert annotator.http.get("/api/tasks", project=project.project_id)["total"] == len(items)


PUSHER = """
import pickle, sys
from flows.annotators.label_studio import LabelStudio
url, token, project, items = pickle.load(open(sys.argv[1], "rb"))
def on_progress(done, total):
    print(done, flush=True)
LabelStudio(url, token).push(project, items, model_version="day-r0", on_progress=on_progress)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_a_push_killed_half_way_and_repeated_makes_no_duplicate(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    label_studio: Server,
    tmp_path: Path,
    after_s: float,
) -> None:
    items = make_items(3 * BATCH, size=(200, 240))
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((label_studio.url, label_studio.token, project, items)))
    child = subprocess.Popen(
        [sys.executable, "-c", PUSHER, str(job)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == str(BATCH)
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    before = annotator.find_tasks(project, [item.item_id for item in items])
    assert BATCH <= len(before) < len(items)  # it was killed half-way indeed
    tasks = push(annotator, project, items)
    assert len(tasks) == len(items)
    assert before.items() <= {task.item_id: task.task_id for task in tasks}.items()
    assert annotator.http.get("/api/tasks", project=project.project_id)["total"] == len(items)
    assert all(task.result for task in tasks)


def test_the_most_uncertain_comes_first_whatever_the_order_sent(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(5)
    shuffled = [items[i] for i in (3, 0, 4, 2, 1)]
    tasks = {task.item_id: task for task in push(annotator, project, shuffled)}
    seen = []
    for _ in items:
        task = next_task(annotator, project)
        seen.append(task["data"]["item_id"])
        answer(annotator, tasks[seen[-1]])
    assert seen == [item.item_id for item in items]


def test_the_next_round_is_ordered_by_its_own_model(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    push(annotator, project, make_items(2))
    later = [
        replace(item, item_id=item.item_id.replace("/r0", "/r1"), uncertainty=u)
        for item, u in zip(make_items(2), (0.2, 0.9), strict=True)
    ]
    annotator.push(project, later, model_version="day-r1", on_progress=lambda *n: None)
    task = next_task(annotator, project)
    assert task["data"]["item_id"] == later[1].item_id
    assert [p["model_version"] for p in task["predictions"]] == ["day-r1"]


def test_without_pre_annotations_the_order_holds_too(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(4, masks=False)
    tasks = push(annotator, project, items[::-1])
    assert [task.result for task in tasks] == [[]] * 4
    assert next_task(annotator, project)["data"]["item_id"] == items[0].item_id


def test_the_tab_lists_what_is_open_most_uncertain_first(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    tiny = [0.00005, 0.9, 0.09, 1.0]
    items = [replace(item, uncertainty=u) for item, u in zip(make_items(4), tiny, strict=True)]
    tasks = push(annotator, project, items)
    answer(annotator, tasks[1])
    tab = annotator.http.get("/api/dm/views/", project=project.project_id)[0]
    listed = annotator.http.get("/api/tasks", view=tab["id"], project=project.project_id)["tasks"]
    assert [task["id"] for task in listed] == [tasks[i].task_id for i in (3, 2, 0)]


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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r["value"].update(rle=r["value"]["rle"][:-3]), "truncated"),
        (lambda r: r["value"].update(brushlabels=["tree"]), "'tree' is none of the classes"),
        (lambda r: r.update(original_width=9), r"image is \(48, 64\)"),
    ],
)
def test_what_label_studio_takes_but_nobody_can_read_is_refused_on_arrival(
    annotator: LabelStudio, project: Project, make_items: MakeItems, change: Any, complaint: str
) -> None:
    (task,) = push(annotator, project, make_items(1))
    region = brush_region(np.full((48, 64), 255, dtype=np.uint8), "sky", region_id="f" * 10)
    change(region)
    answer(annotator, task, result=[*task.result, region])
    (pulled,) = annotator.pull(project, since=None)
    with pytest.raises(AnnotationError, match=complaint):
        decode_annotation(pulled.result, task.result, CLASSES, size=(48, 64))


def test_everything_wrong_is_listed_and_nothing_sent(
    annotator: LabelStudio, project: Project, make_items: MakeItems, tmp_path: Path
) -> None:
    good, size, label, image, score = make_items(5)
    assert label.pre_annotation_HW is not None
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    unknown = label.pre_annotation_HW.copy()
    unknown[0, 0] = len(CLASSES)
    items = [
        good,
        good,
        replace(size, pre_annotation_HW=np.zeros((3, 4), dtype=np.uint8)),
        replace(label, pre_annotation_HW=unknown),
        replace(image, image=broken),
        replace(score, uncertainty=1.5),
    ]
    with pytest.raises(DataError, match="5 problem") as caught:
        push(annotator, project, items)
    for words in ("twice", "(3, 4) for an image of (48, 64)", "class index 4", "broken.png", "1.5"):
        assert words in str(caught.value)
    assert annotator.find_tasks(project, [good.item_id]) == {}


def test_a_personal_access_token_does_all_of_it(
    label_studio: Server, make_items: MakeItems
) -> None:
    with label_studio.client() as client:
        personal = client.post("/api/token/").json()["token"]
    annotator = LabelStudio(label_studio.url, personal)
    project = annotator.ensure_project("by personal token", CLASSES)
    (task,) = push(annotator, project, make_items(1))
    answer(annotator, task)
    annotator.http.client.auth._renew_at = 0.0  # type: ignore[union-attr]
    annotator.http.client.auth._access = "expired"  # type: ignore[union-attr]
    assert len(annotator.pull(project, since=None)) == 1


def test_the_webhook_is_made_once_and_brought_up_to_date(
    annotator: LabelStudio, project: Project
) -> None:
    url = "http://127.0.0.1:9/hook"
    for secret in ("one", "one", "two"):
        annotator.ensure_webhook(project, url, {"X-Hook-Secret": secret})
    annotator.ensure_webhook(project, "http://127.0.0.1:9/another", {})
    hooks = annotator.http.get("/api/webhooks/", project=project.project_id)
    assert [hook["url"] for hook in hooks] == [url, "http://127.0.0.1:9/another"]
    assert hooks[0]["headers"] == {"X-Hook-Secret": "two"}
    assert "ANNOTATION_UPDATED" in hooks[0]["actions"]
