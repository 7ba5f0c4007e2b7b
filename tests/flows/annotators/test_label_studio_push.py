"""Images and masks on their way to a real Label Studio, and in which order they are shown."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from flows.annotators.annotator import Project
from flows.annotators.label_studio import LabelStudio
from flows.annotators.label_studio_tasks import BATCH
from flows.annotators.masks import brush_region, decode_annotation
from pipeline.errors import AnnotationError, DataError, ServiceError
from tests.flows.annotators.conftest import CLASSES, MakeItems, answer, next_task, pull, push
from tests.support.label_studio_server import Server

pytestmark = pytest.mark.services


def test_the_round_trip_is_exact(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    items = make_items(3, size=(47, 65))
    tasks = push(annotator, project, items)
    assert [task.item_id for task in tasks] == [item.item_id for item in items]
    for task in tasks:
        answer(annotator, task)
    pulled = pull(annotator, project)
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


@contextmanager
def proxy(url: str, max_body: int, refused: list[int]) -> Iterator[str]:
    """A reverse proxy with a limit of body size, as nginx has one of 1 MB unless told."""

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if len(body) > max_body:
                refused.append(len(body))
                self.send_response(413)
                self.end_headers()
                return
            asked = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            answer = httpx.request(
                self.command,
                url + self.path,
                content=body,
                headers=asked,
                trust_env=False,
                timeout=60,
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PATCH = do_DELETE = _forward

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_proxy_that_takes_little_gets_smaller_requests_and_no_task_twice(
    annotator: LabelStudio, project: Project, make_items: MakeItems, label_studio: Server
) -> None:
    items = make_items(5, size=(100, 120))  # 36 kB of noise and 30 kB of masks each
    refused: list[int] = []
    with proxy(label_studio.url, 90_000, refused) as url:
        tasks = push(LabelStudio(url, label_studio.token), project, items)
    assert refused
    assert [task.item_id for task in tasks] == [item.item_id for item in items]
    assert all(task.result for task in tasks)
    assert annotator.http.get("/api/tasks", project=project.project_id)["total"] == 5
    for item, task in zip(items, tasks, strict=True):
        data = annotator.http.get(f"/api/tasks/{task.task_id}/")["data"]
        assert annotator.http.client.get(data["image"]).content == item.image.read_bytes()


def test_an_image_larger_than_the_proxy_takes_is_said_with_both_sizes(
    annotator: LabelStudio, project: Project, make_items: MakeItems, label_studio: Server
) -> None:
    refused: list[int] = []
    with (
        proxy(label_studio.url, 20_000, refused) as url,
        pytest.raises(ServiceError, match=r"the proxy .*BaseHTTP.*client_max_body_size"),
    ):
        push(LabelStudio(url, label_studio.token), project, make_items(3, size=(100, 120)))
    assert len(refused) == 2  # 3 images, then 1
    assert annotator.http.get("/api/tasks", project=project.project_id)["total"] == 0


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
    before = {task.item_id: task.task_id for task in annotator.tasks(project)}
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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r["value"].update(rle=r["value"]["rle"][:-3]), "truncated"),
        (lambda r: r.update(image_rotation=90), "rotated by 90"),
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
    (pulled,) = pull(annotator, project)
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
    assert annotator.tasks(project) == []
