"""Clicks and boxes that stay in an answer: named beside it, and not a pixel of its mask."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from flows.annotators.label_studio_project import check_classes, label_config, with_smart_tools
from flows.annotators.masks import encode_result, read_annotation
from pipeline.errors import AnnotationError
from tests.flows.annotators.assist.conftest import CLASSES, SIZE, box, point


@pytest.fixture
def scene() -> np.ndarray[Any, Any]:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[20:] = 1
    return mask


@pytest.mark.parametrize("prompt", [point(30, 30), box(5, 5, 30, 30), point(1, 1, positive=False)])
@pytest.mark.parametrize("order", [1, -1])
def test_prompts_change_no_pixel(
    scene: np.ndarray[Any, Any], prompt: list[dict[str, Any]], order: int
) -> None:
    sent = encode_result(scene, CLASSES, "day/0/r0")
    for answer in ([*sent, *prompt], [*prompt, *sent], [*sent, *prompt[::-1]]):
        reading = read_annotation(answer[::order], sent, CLASSES, size=SIZE)
        np.testing.assert_array_equal(reading.mask_HW, scene)
        assert reading.beside.endswith("a click or box of a smart tool")
        assert "unknown" not in reading.beside


def test_a_mask_under_the_id_of_a_click_counts(scene: np.ndarray[Any, Any]) -> None:
    (clicked, _) = point(30, 30)
    regions = encode_result(scene, CLASSES, "day/0/r0")
    clicked["id"] = regions[1]["id"]
    reading = read_annotation([*regions, clicked], [], CLASSES, size=SIZE)
    np.testing.assert_array_equal(reading.mask_HW, scene)


def test_clicks_alone_are_no_answer_unless_bare_means_something() -> None:
    with pytest.raises(AnnotationError, match="a click or box of a smart tool"):
        read_annotation(point(30, 30), [], CLASSES, size=SIZE)
    bare = read_annotation(box(1, 1, 9, 9), [], CLASSES, size=SIZE, background="road")
    assert (bare.mask_HW == 0).all()


def test_a_rectangle_of_the_plain_tool_is_paint_still() -> None:
    entries = box(10, 20, 20, 40)
    entries[0]["from_name"] = "label_rectangle"
    mask_HW = read_annotation(entries, [], CLASSES, size=SIZE).mask_HW
    assert (mask_HW[10:20, 20:40] == 1).all()
    assert (mask_HW != 255).sum() == 200


def test_only_two_tools_ask_and_projects_of_before_get_them() -> None:
    config = label_config(CLASSES)
    tools = [tag for tag in ElementTree.fromstring(config) if tag.get("smart")]
    assert {tag.get("name"): tag.get("smart") for tag in tools} == {
        "label_brush": "false",
        "label_polygon": "false",
        "label_rectangle": "false",
        "label_ellipse": "false",
        "label_wand": "false",
        "click_point": "true",
        "click_box": "true",
    }
    check_classes("title", "http://x", config, CLASSES)
    assert with_smart_tools(config) == config
    lines = [line for line in config.splitlines() if "click_" not in line]
    before = "\n".join(lines).replace(' smart="false"', "")
    after = with_smart_tools(before)
    again = [tag for tag in ElementTree.fromstring(after) if tag.get("smart")]
    assert [tag.attrib for tag in again] == [tag.attrib for tag in tools]
    for other in (label_config(CLASSES, brush_only=True), "<View/>", "<"):
        assert with_smart_tools(other) == other
