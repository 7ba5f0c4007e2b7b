"""A real Label Studio, and items of small images to send to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.annotators.annotator import Owner, Project, PulledAnnotation, PushedTask, PushItem
from flows.annotators.label_studio import LabelStudio
from pipeline.files import sha256_file
from tests.support.label_studio_server import Server, label_studio

__all__ = ["label_studio"]

CLASSES = ["sky", "building", "road", 'car & <"van">']
WORKSPACE_ID = "0123456789ab"
_NUMBERS = itertools.count()
MakeItems = Callable[..., list[PushItem]]


@pytest.fixture
def annotator(label_studio: Server) -> LabelStudio:
    return LabelStudio(label_studio.url, label_studio.token)


@pytest.fixture
def title() -> str:
    return f"test {next(_NUMBERS)}"


@pytest.fixture
def project(annotator: LabelStudio, title: str) -> Project:
    return annotator.create_project(owner_of(title), title, CLASSES)


@pytest.fixture
def make_items(tmp_path: Path) -> MakeItems:
    """`make_items(count)`: images of noise with masks of blocks; later items are more certain."""

    def make(count: int, *, size: tuple[int, int] = (48, 64), masks: bool = True) -> list[PushItem]:
        rng = np.random.default_rng(count)
        items = []
        for number in range(count):
            image = tmp_path / f"{number:04d} übung.png"
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
            items.append(
                PushItem(
                    item_id=f'day/{number:04d} "a,b"/r0',
                    sample_id=f'day/{number:04d} "a,b"',
                    image=image,
                    image_sha256=sha256_file(image),
                    workspace_id=WORKSPACE_ID,
                    uncertainty=1.0 - number / count,
                    reason="The model is unsure here (entropy 0.71)",
                    pre_annotation_HW=random_mask(rng, size) if masks else None,
                )
            )
        return items

    return make


def random_mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Blocks of classes, single wrong pixels, and a hole without a class."""
    height, width = size
    blocks = rng.integers(0, len(CLASSES), (-(-height // 8), -(-width // 8)))
    mask = np.kron(blocks, np.ones((8, 8), dtype=int))[:height, :width].astype(np.uint8)
    noise = rng.random(size) < 0.03
    mask[noise] = rng.integers(0, len(CLASSES), int(noise.sum()))
    mask[2:5, 3:9] = 255
    return mask


def owner_of(title: str) -> Owner:
    """Another domain for every title."""
    return Owner(workspace_id=WORKSPACE_ID, domain=title.replace(" ", "-"))


def pull(annotator: LabelStudio, project: Project) -> list[PulledAnnotation]:
    """Every annotation of the project."""
    pulled = annotator.pull(project, [task.task_id for task in annotator.tasks(project)])
    assert pulled.unreadable == {}
    return pulled.annotations


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
