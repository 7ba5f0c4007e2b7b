"""A person in Chromium: logs in, is given the most uncertain image, corrects it, submits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.annotators import brush_rle
from flows.annotators.label_studio import LabelStudio
from flows.annotators.masks import decode_annotation
from flows.annotators.types import Project, PulledAnnotation, PushedTask, PushItem
from tests.flows.annotators.conftest import CLASSES, MakeItems
from tests.label_studio_server import Server

pytestmark = [pytest.mark.services, pytest.mark.browser]

SIZE = (240, 320)
SKY, BUILDING, ROAD = range(3)
PATIENCE_MS = 90_000
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def page(label_studio: Server) -> Iterator[Any]:
    """A page that is logged in."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            raise RuntimeError("no chromium; apt-get install --no-install-recommends chromium")
        pytest.skip("no chromium; apt-get install --no-install-recommends chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM))
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("#email", label_studio.credentials.email)
        page.fill("#password", label_studio.credentials.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
        yield page
        browser.close()


@dataclass(frozen=True)
class Canvas:
    """The image as it is shown; places are rows and columns of the image itself."""

    page: Any
    box: dict[str, float]

    @classmethod
    def of(cls, page: Any) -> Canvas:
        return cls(page, page.locator("canvas").first.bounding_box())

    def stroke(self, row: int, columns: tuple[int, int]) -> None:
        """Press the mouse, draw a level line, release."""
        mouse = self.page.mouse
        mouse.move(*self._at(row, columns[0]))
        mouse.down()
        mouse.move(*self._at(row, columns[1]), steps=12)
        mouse.up()
        self.page.wait_for_timeout(500)

    def colour(self, row: int, column: int) -> np.ndarray:
        """RGB shown there."""
        x, y = self._at(row, column)
        shot = self.page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
        return np.asarray(Image.open(BytesIO(shot)).convert("RGB"))[0, 0].astype(int)

    def _at(self, row: int, column: int) -> tuple[float, float]:
        height, width = SIZE
        return (
            self.box["x"] + (column + 0.5) / width * self.box["width"],
            self.box["y"] + (row + 0.5) / height * self.box["height"],
        )


def open_next_task(page: Any, project: Project) -> Canvas:
    """Press "Label All Tasks", read the instructions, close them."""
    page.goto(project.url)
    page.get_by_role("button", name="Label All Tasks").first.click()
    page.get_by_text("Painting over another class is enough").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Painting over another class is enough").wait_for(state="hidden")
    submit_button(page).wait_for()
    page.locator("canvas").first.wait_for()
    page.wait_for_timeout(2500)  # masks are decoded after the page is there
    return Canvas.of(page)


def submit_button(page: Any) -> Any:
    return page.get_by_role("button", name="Submit current annotation")


def submit(page: Any) -> None:
    is_submit = lambda r: "/annotations" in r.url and r.request.method == "POST"  # noqa: E731
    with page.expect_response(is_submit) as response:
        submit_button(page).click()
    assert response.value.status == 201


def select_region(page: Any, class_name: str) -> None:
    page.locator("[class*=outliner]").get_by_text(class_name, exact=True).first.click()


@pytest.fixture
def scene() -> np.ndarray:
    """Sky over buildings over a road."""
    mask = np.full(SIZE, SKY, dtype=np.uint8)
    mask[80:160] = BUILDING
    mask[160:] = ROAD
    return mask


def push(annotator: LabelStudio, project: Project, items: list[PushItem]) -> dict[str, PushedTask]:
    tasks = annotator.push(project, items, model_version="day-r0", on_progress=lambda *n: None)
    return {task.item_id: task for task in tasks}


def the_answer(annotator: LabelStudio, project: Project, item: PushItem) -> PulledAnnotation:
    (pulled,) = annotator.pull(project, since=None)
    assert pulled.item_id == item.item_id
    assert pulled.annotator == "annotator@example.com"
    return pulled


def grey(path: Path) -> None:
    """Make the image plain, so that what is seen on it is the pre-annotation."""
    Image.new("RGB", SIZE[::-1], (128, 128, 128)).save(path)


def test_a_correction_painted_in_the_browser_arrives_pixel_by_pixel(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    scene: np.ndarray,
    page: Any,
) -> None:
    items = [replace(item, pre_annotation_HW=scene) for item in make_items(3, size=SIZE)]
    for item in items:
        grey(item.image)
    tasks = push(annotator, project, items[::-1])
    canvas = open_next_task(page, project)

    # Seen: the pre-annotation in its classes' colours, blue-ish building unlike green-ish road.
    colours = [canvas.colour(row, 40) for row in (40, 120, 200)]
    assert all(np.abs(colour - 128).max() > 15 for colour in colours)
    assert min(np.abs(a - b).max() for a, b in pairwise(colours)) > 15

    select_region(page, "building")  # before "road" in the list: the trap of "last region wins"
    canvas.stroke(row=200, columns=(60, 260))
    select_region(page, "building")
    if folder := os.environ.get("SSL_LOOP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "label-studio-task.png")
    submit(page)

    pulled = the_answer(annotator, project, items[0])  # the most uncertain one
    sent = tasks[items[0].item_id].result
    assert [region["id"] for region in pulled.result] == [region["id"] for region in sent]
    mask = decode_annotation(pulled.result, sent, CLASSES, size=SIZE)
    alpha = brush_rle.decode(pulled.result[BUILDING]["value"]["rle"], *SIZE)
    painted = (alpha > 127) & (scene != BUILDING)
    np.testing.assert_array_equal(mask, np.where(painted, BUILDING, scene))
    assert (mask[200, 62:259] == BUILDING).all()
    rows, columns = np.nonzero(painted)
    assert 180 < rows.min() <= 200 <= rows.max() < 220
    assert 40 < columns.min() <= 60
    assert 260 <= columns.max() + 2 < 280
    assert pulled.raw["parent_prediction"] == tasks[items[0].item_id].prediction_id
    untouched = [r["value"]["rle"] for r in pulled.result if r["origin"] == "prediction"]
    assert untouched == [sent[SKY]["value"]["rle"], sent[ROAD]["value"]["rle"]]


def test_what_is_erased_in_the_browser_has_no_class(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    scene: np.ndarray,
    page: Any,
) -> None:
    items = [replace(item, pre_annotation_HW=scene) for item in make_items(1, size=SIZE)]
    tasks = push(annotator, project, items)
    canvas = open_next_task(page, project)
    select_region(page, "road")
    page.get_by_role("button", name="eraser").first.click()
    canvas.stroke(row=200, columns=(60, 260))
    submit(page)
    pulled = the_answer(annotator, project, items[0])
    sent = tasks[items[0].item_id].result
    mask = decode_annotation(pulled.result, sent, CLASSES, size=SIZE)
    assert (mask[200, 62:259] == 255).all()
    changed = mask != scene
    assert (mask[changed] == 255).all()
    assert not changed[:180].any()


def test_an_image_without_a_pre_annotation_is_painted_by_key(
    annotator: LabelStudio, project: Project, make_items: MakeItems, page: Any
) -> None:
    items = make_items(2, size=SIZE, masks=False)
    tasks = push(annotator, project, items)
    canvas = open_next_task(page, project)
    page.keyboard.press("3")
    canvas.stroke(row=200, columns=(60, 260))
    submit(page)
    pulled = the_answer(annotator, project, items[0])
    mask = decode_annotation(pulled.result, tasks[items[0].item_id].result, CLASSES, size=SIZE)
    assert set(np.unique(mask)) == {ROAD, 255}
    assert (mask[200, 62:259] == ROAD).all()
    assert (mask[:170] == 255).all()
