"""An engine that fills the colour under a click, and a workspace of two images without a query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.annotators.assist.clicked_masks import ClickedMasks
from flows.annotators.assist.current_engine import CurrentEngine, Ready
from flows.annotators.assist.task_images import TaskImages
from pipeline import layout
from pipeline.clicks.marks import Click, Mark
from pipeline.data.formats.images import load_image
from pipeline.files import sha256_file
from pipeline.records.manifest import Sample, write_manifest

SIZE = (40, 60)
CLASSES = ("road", "car")
WORKSPACE_ID = "0123456789ab"
CAR = (slice(10, 20), slice(20, 40))


class ColourEngine:
    """A plain stand-in: pixels of exactly the colours clicked on, without those clicked off."""

    name = "colour"

    def __init__(self) -> None:
        self.prepared: list[str] = []

    def prepare(self, image: Path) -> None:
        self.prepared.append(image.name)

    def mask(self, image: Path, marks: Sequence[Mark], class_index: int) -> np.ndarray[Any, Any]:
        pixels_HWC = load_image(image)
        size = (pixels_HWC.shape[0], pixels_HWC.shape[1])
        found_HW = np.zeros(size, dtype=bool)
        for mark in marks:
            if isinstance(mark, Click):
                same_HW = (pixels_HWC == pixels_HWC[mark.pixel(size)]).all(axis=2)
                found_HW = found_HW | same_HW if mark.positive else found_HW & ~same_HW
            else:
                found_HW[mark.window(size)] = True
        return found_HW


@pytest.fixture
def engine() -> ColourEngine:
    return ColourEngine()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of a grey road with a red car that has a white roof."""
    samples = []
    for number in range(2):
        pixels_HWC = np.full((*SIZE, 3), 90 + number, dtype=np.uint8)
        pixels_HWC[CAR] = (200, 30, 30)
        pixels_HWC[12:15, 25:35] = 255
        path = Path(f"data/day/images/{number}.png")
        (tmp_path / path.parent).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_HWC).save(tmp_path / path)
        samples.append(
            Sample(
                sample_id=f"day/{number}",
                domain="day",
                split="pool",
                image=str(path),
                image_sha256=sha256_file(tmp_path / path),
            )
        )
    write_manifest(tmp_path / layout.MANIFEST, samples)
    return tmp_path


@pytest.fixture
def images(root: Path) -> TaskImages:
    return TaskImages(root, WORKSPACE_ID)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def current(engine: ColourEngine, said: list[str]) -> CurrentEngine:
    made = CurrentEngine(lambda: Ready(engine=engine, class_names=CLASSES), lambda: 1, said.append)
    made.renew()
    return made


@pytest.fixture
def masks(root: Path, images: TaskImages, current: CurrentEngine, said: list[str]) -> ClickedMasks:
    return ClickedMasks(root, images, current, said.append)


def task_data(root: Path, number: int = 0, **changes: Any) -> dict[str, Any]:
    """What Label Studio knows of a task."""
    return {
        "image": "/data/upload/1/whatever.png",
        "item_id": f"day/{number}/r0",
        "workspace": WORKSPACE_ID,
        "image_sha256": sha256_file(root / f"data/day/images/{number}.png"),
        **changes,
    }


def point(
    row: float, column: float, *, positive: bool = True, label: str = "car", number: int = 0
) -> list[dict[str, Any]]:
    """The two entries of a click, as Label Studio 1.23.2 sends them."""
    place = {
        "x": column / SIZE[1] * 100,
        "y": row / SIZE[0] * 100,
        "width": 0.3,
        "labels": [label],
    }
    return _twice("keypoint", "click_point", place, f"p{number}", is_positive=positive)


def box(
    top: float, left: float, bottom: float, right: float, label: str = "car"
) -> list[dict[str, Any]]:
    """The two entries of a box."""
    place = {
        "x": left / SIZE[1] * 100,
        "y": top / SIZE[0] * 100,
        "width": (right - left) / SIZE[1] * 100,
        "height": (bottom - top) / SIZE[0] * 100,
        "rotation": 0,
    }
    return _twice("rectangle", "click_box", place, "b0", label=label)


def _twice(
    kind: str, tool: str, place: dict[str, Any], region_id: str, label: str = "", **more: Any
) -> list[dict[str, Any]]:
    common = {
        "id": region_id,
        "to_name": "image",
        "origin": "manual",
        "original_width": SIZE[1],
        "original_height": SIZE[0],
        "image_rotation": 0,
        **more,
    }
    labels = place.get("labels") or [label]
    return [
        {**common, "type": kind, "from_name": tool, "value": place},
        {**common, "type": "labels", "from_name": "label", "value": {**place, "labels": labels}},
    ]


def question(root: Path, *entries: list[dict[str, Any]], task: int = 7, **data: Any) -> Any:
    """The body of /predict."""
    return {
        "tasks": [{"id": task, "data": task_data(root, **data)}],
        "project": "1.1700000000",
        "label_config": "<View/>",
        "params": {
            "login": None,
            "password": None,
            "context": {"result": [entry for some in entries for entry in some]},
        },
    }
