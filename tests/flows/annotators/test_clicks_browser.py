"""A person in Chromium clicks on a car: its mask appears, is corrected by click, and is read."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.annotators.annotator import Project, PushItem
from flows.annotators.assist.click_log import kept_clicks
from flows.annotators.assist.clicked_masks import ClickedMasks
from flows.annotators.assist.current_engine import CurrentEngine, Ready
from flows.annotators.assist.label_studio_connection import TITLE
from flows.annotators.assist.ml_backend import MlBackend
from flows.annotators.assist.task_images import TaskImages
from flows.annotators.label_studio import LabelStudio
from flows.annotators.masks import read_annotation
from pipeline import layout
from pipeline.files import sha256_file
from pipeline.records.manifest import Sample, write_manifest
from tests.flows.annotators.assist.conftest import ColourEngine
from tests.flows.annotators.conftest import CLASSES, WORKSPACE_ID, MakeItems, pull
from tests.flows.annotators.test_browser import push
from tests.support.browser import (
    Canvas,
    choose_class,
    logged_in,
    open_next_task,
    submit,
)
from tests.support.label_studio_server import Server
from tests.support.served import served

pytestmark = [pytest.mark.services, pytest.mark.browser]

SIZE = (240, 320)
SKY, BUILDING, ROAD, CAR = range(4)
PASSWORD = "s3cret"
ON_THE_CAR, ON_ITS_WINDOW, ON_ANOTHER = (185, 120), (165, 140), (185, 240)


@dataclass
class Backend:
    """A backend that can be stopped, and what it said."""

    root: Path
    engine: ColourEngine = field(default_factory=ColourEngine)
    said: list[str] = field(default_factory=list)
    running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> str:
        """Where it answers now."""
        current = CurrentEngine(self._ready, lambda: 1, self.said.append)
        current.renew()
        images = TaskImages(self.root, WORKSPACE_ID)
        masks = ClickedMasks(self.root, images, current, self.said.append)

        async def listen() -> asyncio.Server:
            backend = MlBackend(secret=PASSWORD, predict=masks.predict, say=self.said.append)
            return await backend.listen("127.0.0.1", 0)

        return f"http://127.0.0.1:{self.running.enter_context(served(listen))}"

    def _ready(self) -> Ready:
        return Ready(engine=self.engine, class_names=tuple(CLASSES))


@pytest.fixture(scope="module")
def page(label_studio: Server) -> Iterator[Any]:
    person = label_studio.credentials
    with logged_in(label_studio.url, person.email, person.password) as page:
        yield page


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    made = Backend(tmp_path)
    with made.running:
        yield made


@pytest.fixture
def item(make_items: MakeItems, tmp_path: Path) -> PushItem:
    """A red car with a white window on a grey road, another one, under a sky; the query's first."""
    (item,) = make_items(1, size=SIZE, masks=False)
    pixels_HWC = np.full((*SIZE, 3), 100, dtype=np.uint8)
    pixels_HWC[:80] = (150, 180, 230)
    pixels_HWC[80:150] = (120, 90, 60)
    pixels_HWC[car(window=True)] = (200, 30, 30)
    pixels_HWC[160:170, 120:160] = 255
    pixels_HWC[180:200, 220:270] = (30, 30, 200)
    Image.fromarray(pixels_HWC).save(item.image)
    item = replace(item, image_sha256=sha256_file(item.image))
    sample = Sample(
        sample_id=item.sample_id,
        domain="day",
        split="pool",
        image=item.image.name,
        image_sha256=item.image_sha256,
    )
    write_manifest(tmp_path / layout.MANIFEST, [sample])
    return item


def car(*, window: bool) -> np.ndarray[Any, Any]:
    mask_HW = np.zeros(SIZE, dtype=bool)
    mask_HW[150:195, 100:180] = True
    mask_HW[160:170, 120:160] = window
    return mask_HW


def scene() -> np.ndarray[Any, Any]:
    mask = np.full(SIZE, SKY, dtype=np.uint8)
    mask[80:150] = BUILDING
    mask[150:] = ROAD
    return mask


def switch_on(page: Any, *, accept: bool = True) -> None:
    """What the instruction says to do once; the browser remembers it."""
    for name, wanted in (("auto-annotation", True), ("auto-accept", accept)):
        stored = {"auto-annotation": "autoAnnotation", "auto-accept": "autoAcceptSuggestions"}[name]
        if (page.evaluate(f"localStorage.getItem('{stored}')") == "true") != wanted:
            page.get_by_test_id(f"bottombar-{name}-toggle").first.click(force=True)
            page.wait_for_timeout(300)


def take_the_smart_tool(page: Any, name: str) -> None:
    """Point at the last tool of the row, and choose among those that then appear beside it."""
    page.locator(".lsf-tool_smart").first.hover()
    page.locator(f".lsf-tool_smart[aria-label='{name}']").first.click()
    page.wait_for_timeout(300)
    # Pressed switches and tools keep the keys otherwise.
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(5, 500)


def asked(page: Any, act: Any) -> dict[str, Any]:
    """What Label Studio answers to the act's question."""
    with page.expect_response(lambda r: "interactive-annotating" in r.url) as response:
        act()
    page.wait_for_timeout(1000)
    return dict(response.value.json())


def ctrl_click(canvas: Canvas, place: tuple[int, int], *, alt: bool = False) -> None:
    keys = ["Control", *(["Alt"] if alt else [])]
    for key in keys:
        canvas.page.keyboard.down(key)
    canvas.click(place)
    for key in reversed(keys):
        canvas.page.keyboard.up(key)


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("SSL_LOOP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def read(annotator: LabelStudio, project: Project, sent: list[Any]) -> np.ndarray[Any, Any]:
    (pulled,) = pull(annotator, project)
    return read_annotation(pulled.result, sent, CLASSES, size=SIZE).mask_HW


def project_row(annotator: LabelStudio, project: Project) -> dict[str, Any]:
    row: dict[str, Any] = annotator.http.get(f"/api/projects/{project.project_id}/")
    return row


def test_a_click_on_a_car_is_its_mask(
    annotator: LabelStudio, project: Project, item: PushItem, backend: Backend, page: Any
) -> None:
    item = replace(item, pre_annotation_HW=scene())
    sent = push(annotator, project, [item])[item.item_id].result
    annotator.ensure_assist(project, backend.start(), PASSWORD)
    canvas = open_next_task(page, project.url, SIZE)
    switch_on(page)
    take_the_smart_tool(page, "key-point-tool")
    choose_class(page, CAR)
    asked(page, lambda: ctrl_click(canvas, ON_THE_CAR))
    shot(page, "label-studio-click")
    asked(page, lambda: ctrl_click(canvas, ON_ITS_WINDOW))
    asked(page, lambda: ctrl_click(canvas, ON_ITS_WINDOW, alt=True))  # the window is taken away
    asked(page, lambda: ctrl_click(canvas, ON_ANOTHER))
    page.keyboard.press("Control+z")  # the other car is none
    page.wait_for_timeout(500)
    submit(page)
    expected = scene()
    expected[car(window=False)] = CAR
    np.testing.assert_array_equal(read(annotator, project, sent), expected)
    assert [one.class_name for one in kept_clicks(backend.root)] == [CLASSES[CAR]] * 4
    assert all(one.item_id == item.item_id for one in kept_clicks(backend.root))
    assert backend.said[1:] == []


def test_a_box_and_clicks_left_in_the_answer_cost_nothing(
    annotator: LabelStudio, project: Project, item: PushItem, backend: Backend, page: Any
) -> None:
    sent = push(annotator, project, [item])[item.item_id].result
    annotator.ensure_assist(project, backend.start(), PASSWORD)
    canvas = open_next_task(page, project.url, SIZE)
    switch_on(page)
    take_the_smart_tool(page, "rectangle-tool")
    choose_class(page, CAR)
    asked(page, lambda: canvas.drag((150, 100), (194, 179)))
    switch_on(page, accept=False)
    take_the_smart_tool(page, "key-point-tool")
    choose_class(page, ROAD)
    answer = asked(page, lambda: canvas.click((220, 40)))  # a suggestion that nobody takes over
    assert len(answer["data"]["result"]) == 1
    shot(page, "label-studio-suggestion")
    submit(page)
    (pulled,) = pull(annotator, project)
    assert "keypoint" in {entry["type"] for entry in pulled.result}
    reading = read_annotation(pulled.result, sent, CLASSES, size=SIZE)
    assert "a click or box of a smart tool" in reading.beside
    rows, columns = np.nonzero(reading.mask_HW == CAR)
    assert (reading.mask_HW != CAR).sum() == (reading.mask_HW == 255).sum()
    # As the box was drawn, to the pixel of the screen.
    edges = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    np.testing.assert_allclose(edges, (150, 195, 100, 180), atol=1)


def test_without_the_backend_people_paint_and_it_comes_back(
    annotator: LabelStudio, project: Project, item: PushItem, backend: Backend, page: Any
) -> None:
    sent = push(annotator, project, [item])[item.item_id].result
    annotator.ensure_assist(project, backend.start(), PASSWORD)
    canvas = open_next_task(page, project.url, SIZE)
    switch_on(page)
    take_the_smart_tool(page, "key-point-tool")
    choose_class(page, CAR)
    backend.running.close()  # while the page is open
    answer = asked(page, lambda: ctrl_click(canvas, ON_THE_CAR))
    shot(page, "label-studio-no-backend")
    assert "data" not in answer
    annotator.ensure_assist(project, backend.start(), PASSWORD)  # at another port
    asked(page, lambda: ctrl_click(canvas, ON_ANOTHER))  # the same page, not loaded again
    backend.running.close()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    choose_class(page, ROAD)
    canvas.stroke(row=220, columns=(60, 260))
    submit(page)
    mask = read(annotator, project, sent)
    assert (mask[180:200, 220:270] == CAR).all()
    assert (mask[220, 62:259] == ROAD).all()


def test_connecting_leaves_the_order_and_sends_no_answers_away(
    annotator: LabelStudio, project: Project, item: PushItem, backend: Backend
) -> None:
    url = backend.start()
    annotator.ensure_assist(project, url, PASSWORD)  # before anything was sent
    assert not project_row(annotator, project)["model_version"]
    push(annotator, project, [item])
    for _ in range(2):
        annotator.ensure_assist(project, url, PASSWORD)
    moved = backend.start()
    annotator.ensure_assist(project, moved, PASSWORD)
    row = project_row(annotator, project)
    assert row["model_version"] == "day-r0"
    assert row["evaluate_predictions_automatically"] is False
    (made,) = annotator.http.get("/api/ml/", project=project.project_id)
    assert (made["title"], made["url"], made["state"]) == (TITLE, moved, "CO")
    assert made["is_interactive"] is True
    assert PASSWORD not in json.dumps(made)
    assert annotator.http.get("/api/webhooks/", project=project.project_id) == []
    annotator.ensure_assist(project, None, PASSWORD)
    assert annotator.http.get("/api/ml/", project=project.project_id) == []
    assert project_row(annotator, project)["model_version"] == "day-r0"


def test_a_project_of_before_gets_the_tools(
    annotator: LabelStudio, project: Project, backend: Backend
) -> None:
    path = f"/api/projects/{project.project_id}/"
    config = project_row(annotator, project)["label_config"]
    lines = [line for line in config.splitlines() if "click_" not in line]
    old = "\n".join(lines).replace(' smart="false"', "")
    annotator.http.patch(path, {"label_config": old})
    annotator.ensure_assist(project, backend.start(), PASSWORD)
    found = project_row(annotator, project)["label_config"]
    for name in ("click_point", "click_box"):
        assert f'name="{name}"' in found
    assert found.count('smart="false"') == 5
    assert annotator.open_project(project.project_id, CLASSES) is not None
