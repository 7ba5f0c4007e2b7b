"""A person in Chromium: logs in, is given the most uncertain image, corrects it, submits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from flows.annotators import brush_rle
from flows.annotators.annotator import Project, PulledAnnotation, PushedTask, PushItem
from flows.annotators.entries import read_entries
from flows.annotators.label_studio import LabelStudio
from flows.annotators.masks import TO_NAME, decode_annotation, read_annotation
from tests.flows.annotators.conftest import CLASSES, MakeItems, owner_of, pull
from tests.support.browser import (
    Canvas,
    choose_class,
    choose_tool,
    logged_in,
    new_region,
    open_next_task,
    select_region,
    show_all,
    show_only,
    submit,
)
from tests.support.label_studio_server import Server

pytestmark = [pytest.mark.services, pytest.mark.browser]

SIZE = (240, 320)
SKY, BUILDING, ROAD = range(3)


@pytest.fixture(scope="module")
def page(label_studio: Server) -> Iterator[Any]:
    """A page that is logged in."""
    person = label_studio.credentials
    with logged_in(label_studio.url, person.email, person.password) as page:
        yield page


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
    (task,) = [task for task in annotator.tasks(project) if task.versions]
    assert task.item_id == item.item_id
    (pulled,) = annotator.pull(project, [task.task_id]).annotations
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
    canvas = open_next_task(page, project.url, SIZE)

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
    canvas = open_next_task(page, project.url, SIZE)
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
    canvas = open_next_task(page, project.url, SIZE)
    page.keyboard.press("3")
    canvas.stroke(row=200, columns=(60, 260))
    submit(page)
    pulled = the_answer(annotator, project, items[0])
    mask = decode_annotation(pulled.result, tasks[items[0].item_id].result, CLASSES, size=SIZE)
    assert set(np.unique(mask)) == {ROAD, 255}
    assert (mask[200, 62:259] == ROAD).all()
    assert (mask[:170] == 255).all()


def paint(page: Any, canvas: Any, class_index: int, columns: tuple[int, int]) -> None:
    choose_class(page, class_index)
    canvas.stroke(row=200, columns=columns)


def test_an_object_painted_too_far_and_the_background_painted_back(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    scene: np.ndarray,
    page: Any,
) -> None:
    """Once as the instruction says, which is exact; once on the proposed regions, whose order
    Label Studio does not tell: unknown, where it was all "building" before."""
    items = [replace(item, pre_annotation_HW=scene) for item in make_items(2, size=SIZE)]
    tasks = push(annotator, project, items)
    canvas = open_next_task(page, project.url, SIZE)
    paint(page, canvas, BUILDING, (60, 260))
    paint(page, canvas, ROAD, (160, 260))
    paint(page, canvas, BUILDING, (220, 260))
    submit(page)
    canvas = open_next_task(page, project.url, SIZE)
    select_region(page, "building")
    canvas.stroke(row=200, columns=(60, 260))
    select_region(page, "road")
    canvas.stroke(row=200, columns=(160, 260))
    submit(page)
    first, second = pull(annotator, project)
    mask, beside = read_annotation(first.result, tasks[items[0].item_id].result, CLASSES, size=SIZE)
    assert {*mask[200, 62:146]} == {*mask[200, 222:259]} == {BUILDING}
    assert {*mask[200, 162:206]} == {ROAD}
    np.testing.assert_array_equal(mask[:160], scene[:160])
    assert beside == ""
    mask, beside = read_annotation(
        second.result, tasks[items[1].item_id].result, CLASSES, size=SIZE
    )
    assert {*mask[200, 62:259]} == {255}
    np.testing.assert_array_equal(mask[mask != 255], scene[mask != 255])
    assert beside.startswith(f"{int((mask == 255).sum())} pixel(s) lie in two regions")


def test_from_nothing_the_class_begun_last_counts(
    annotator: LabelStudio, project: Project, make_items: MakeItems, page: Any
) -> None:
    items = make_items(1, size=SIZE, masks=False)
    push(annotator, project, items)
    canvas = open_next_task(page, project.url, SIZE)
    paint(page, canvas, BUILDING, (60, 260))
    paint(page, canvas, ROAD, (120, 260))
    paint(page, canvas, BUILDING, (200, 260))
    submit(page)
    pulled = the_answer(annotator, project, items[0])
    mask = decode_annotation(pulled.result, [], CLASSES, size=SIZE)
    assert {*mask[200, 62:106]} == {*mask[200, 202:259]} == {BUILDING}
    assert {*mask[200, 122:186]} == {ROAD}


def test_after_the_eraser_the_keys_of_brush_and_class_paint_again(
    annotator: LabelStudio,
    project: Project,
    make_items: MakeItems,
    scene: np.ndarray,
    page: Any,
) -> None:
    items = [replace(item, pre_annotation_HW=scene) for item in make_items(1, size=SIZE)]
    tasks = push(annotator, project, items)
    canvas = open_next_task(page, project.url, SIZE)
    select_region(page, "road")
    page.get_by_role("button", name="eraser").first.click()
    canvas.stroke(row=220, columns=(60, 260))
    page.keyboard.press("b")
    paint(page, canvas, BUILDING, (60, 260))
    submit(page)
    pulled = the_answer(annotator, project, items[0])
    mask = decode_annotation(pulled.result, tasks[items[0].item_id].result, CLASSES, size=SIZE)
    assert {*mask[220, 62:259]} == {255}
    assert {*mask[200, 62:259]} == {BUILDING}


def test_classes_named_like_the_tasks_data_are_shown_and_answered_as_they_are(
    annotator: LabelStudio, title: str, make_items: MakeItems, scene: np.ndarray, page: Any
) -> None:
    names = ["$image", "a$reason <b>", "<script>alert(1)</script>", "$5"]
    project = annotator.create_project(owner_of(title), title, names)
    assert annotator.open_project(project.project_id, names) == project
    items = [replace(item, pre_annotation_HW=scene) for item in make_items(1, size=SIZE)]
    tasks = annotator.push(project, items, model_version="m", on_progress=lambda *n: None)
    canvas = open_next_task(page, project.url, SIZE)
    shown = page.locator("body").inner_text().replace("\u2060", "")
    assert all(name in shown for name in names)
    paint(page, canvas, 3, (60, 260))
    submit(page)
    pulled = the_answer(annotator, project, items[0])
    labels = [r["value"]["labels"] for r in pulled.result if r["type"] == "labels"]
    assert labels == [[names[0]], [names[1]], [names[2]], [names[3]]]
    mask = decode_annotation(pulled.result, tasks[0].result, names, size=SIZE)
    assert {*mask[200, 62:259]} == {3}
    np.testing.assert_array_equal(mask[:170], scene[:170])


def draw_with_every_tool(page: Any, canvas: Canvas) -> None:
    """Buildings by all tools, the class chosen once for the shapes; a road and a building painted
    back over it; something unknown."""
    choose_class(page, BUILDING)
    choose_tool(page, "rectangle-tool")
    for left in (20, 70):
        with new_region(page):
            canvas.drag((20, left), (60, left + 35))
    choose_tool(page, "ellipse-tool")
    with new_region(page):
        canvas.drag((45, 150), (70, 185))
    choose_tool(page, "polygon-tool")
    corners = [(20, 210), (30, 290), (80, 240)]
    with new_region(page):
        for corner in [*corners, corners[0]]:
            canvas.click(corner)
    choose_tool(page, "magicwand")
    with new_region(page):
        canvas.drag((125, 60), (125, 62))
    choose_class(page, BUILDING)
    choose_tool(page, "bitmask-tool")
    with new_region(page):
        canvas.drag((120, 220), (120, 280))
    choose_class(page, ROAD)
    choose_tool(page, "brush-tool")
    canvas.stroke(row=200, columns=(60, 260))
    choose_class(page, BUILDING)
    canvas.stroke(row=200, columns=(120, 180))
    choose_class(page, len(CLASSES))  # the last label: unknown
    choose_tool(page, "rectangle-tool")
    with new_region(page):
        canvas.drag((210, 20), (230, 100))


def rim(pixels: np.ndarray) -> np.ndarray:
    """Pixels through which an outline runs: of a region, or beside it, next to the other kind."""
    square = np.ones((3, 3))
    grown = ndimage.binary_dilation(pixels, square)
    return grown & ~ndimage.binary_erosion(pixels, square, border_value=1)


def test_what_every_tool_drew_is_read_as_the_screen_showed_it(
    annotator: LabelStudio, project: Project, make_items: MakeItems, page: Any
) -> None:
    """Region by region: the same pixels for brush and bitmask, for shapes all but the rim. All
    together: the one that was drawn last, and background where nothing was."""
    path = f"/api/projects/{project.project_id}/"
    config = annotator.http.get(path)["label_config"]
    bitmask = f'<Bitmask name="label_bitmask" toName="{TO_NAME}"/></View>'
    annotator.http.patch(path, {"label_config": config.replace("</View>", bitmask)})
    assert annotator.open_project(project.project_id, CLASSES) == project
    (item,) = make_items(1, size=SIZE, masks=False)
    image = np.full((*SIZE, 3), 128, dtype=np.uint8)
    image[100:150, 30:110] = (60, 40, 30)  # for the wand
    Image.fromarray(image).save(item.image)
    push(annotator, project, [replace(item, background="sky")])
    canvas = open_next_task(page, project.url, SIZE)
    assert "What you leave bare counts as sky." in page.locator("body").inner_text()
    draw_with_every_tool(page, canvas)
    if folder := os.environ.get("SSL_LOOP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "label-studio-tools.png")
    page.keyboard.press("Escape")
    show_only(page, None)
    nothing = canvas.shown()
    covered = {}
    for number in range(9):
        region_id = show_only(page, number)
        change = np.abs(canvas.shown() - nothing).max(axis=-1)
        covered[region_id] = change / np.median(change[change > 8])
    show_all(page)
    submit(page)

    pulled = the_answer(annotator, project, item)
    kinds = {r["id"]: r["type"] for r in pulled.result if r["type"] != "labels"}
    assert list(kinds.values()) == [
        *("rectangle", "rectangle", "ellipse", "polygon", "magicwand", "bitmask"),
        *("brush", "brush", "rectangle"),
    ]
    assert list(covered) == list(kinds)
    canvas_HW = np.full(SIZE, SKY)
    for paint in read_entries(pulled.result, CLASSES, SIZE).paints:
        pixels_HW = paint.pixels.rows(slice(None))
        covered_HW = covered[paint.region_id]
        differing = (covered_HW > 0.5) != pixels_HW
        if kinds[paint.region_id] == "bitmask":
            assert not differing.any()
        if kinds[paint.region_id] == "brush":  # an edge through the middle of pixels is either
            assert (np.abs(covered_HW[differing] - 0.5) < 0.1).all()
        assert not (differing & ~rim(pixels_HW)).any()
        assert pixels_HW.sum() > 300
        canvas_HW[pixels_HW] = paint.class_index
    mask, beside = read_annotation(pulled.result, [], CLASSES, size=SIZE, background="sky")
    np.testing.assert_array_equal(mask, canvas_HW)
    assert beside == ""
    assert {*mask[200, 62:106]} == {*mask[200, 194:259]} == {ROAD}
    assert {*mask[200, 122:179]} == {BUILDING}
    assert {*mask[40, 72:104]} == {BUILDING}
    assert mask[220, 60] == 255
    assert mask[5, 5] == SKY
    assert (mask[102:148, 32:108] == BUILDING).all()
