"""The whole of click to mask: a teacher of twelve labels, its process, Label Studio, Chromium."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.clicks.teachers import asked_samples, synthetic_workspace
from flows.annotators.annotator import Owner, PushItem
from flows.annotators.assist.click_log import kept_clicks
from flows.annotators.label_studio import LabelStudio
from flows.annotators.masks import read_annotation
from flows.processes.command import wait_until
from flows.services.daemon import answers, free_port
from flows.services.stack import assist_command
from flows.workspace.credentials import credentials
from flows.workspace.identity import new_identity, require_identity
from pipeline import layout
from pipeline.data.formats.images import load_mask
from pipeline.ids import item_id
from pipeline.records.manifest import Sample
from tests.flows.annotators.test_clicks_browser import (
    asked,
    ctrl_click,
    shot,
    switch_on,
    take_the_smart_tool,
)
from tests.support.browser import choose_class, logged_in, open_next_task, submit
from tests.support.label_studio_server import Server, label_studio

__all__ = ["label_studio"]

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.programs, pytest.mark.heavy]


@dataclass(frozen=True)
class Car:
    """A car in an image that no teacher learnt from."""

    sample: Sample
    mask_HW: np.ndarray[Any, Any]

    @property
    def middle(self) -> tuple[int, int]:
        """Its pixel furthest from what is no car."""
        depth_HW = ndimage.distance_transform_edt(np.pad(self.mask_HW, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth_HW.argmax()), depth_HW.shape)
        return int(row), int(column)


def largest_car(root: Path, car_index: int) -> Car:
    """The one with the most pixels."""
    found: list[Car] = []
    for sample in asked_samples(root):
        labels_HW, count = ndimage.label(load_mask(root / sample.mask) == car_index)
        found += [Car(sample, labels_HW == number + 1) for number in range(count)]
    return max(found, key=lambda car: int(car.mask_HW.sum()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose teacher learnt from twelve streets, as after a first round."""
    root = tmp_path_factory.mktemp("clicks") / "workspace"
    params = synthetic_workspace(root)
    (root / layout.PARAMS).write_text(json.dumps(params.model_dump(mode="json")))
    new_identity(root)
    return root


@pytest.fixture
def url(root: Path) -> Iterator[str]:
    """Where the process answers."""
    credentials(root)
    port = free_port(8090)
    argv = assist_command(root, port)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(argv, env=environment, cwd=Path.cwd(), stderr=sys.stderr)
    found = f"http://127.0.0.1:{port}"
    try:
        assert wait_until(lambda: answers(f"{found}/health"), 60)
        yield found
    finally:
        process.terminate()
        process.wait(20)


def test_one_click_on_a_car_is_the_car(root: Path, url: str, label_studio: Server) -> None:
    from pipeline.data.synthetic.domains import CLASSES

    car = largest_car(root, CLASSES.index("car"))
    annotator = LabelStudio(label_studio.url, label_studio.token)
    workspace_id = require_identity(root).id
    owner = Owner(workspace_id=workspace_id, domain="day")
    project = annotator.create_project(owner, "one click on a car", CLASSES)
    item = PushItem(
        item_id=item_id(car.sample.sample_id, 1),
        sample_id=car.sample.sample_id,
        image=root / car.sample.image,
        image_sha256=car.sample.image_sha256,
        workspace_id=workspace_id,
        uncertainty=0.5,
        reason="a test",
        pre_annotation_HW=None,
    )
    annotator.push(project, [item], model_version="day-r1", on_progress=lambda *n: None)
    annotator.ensure_assist(project, url, credentials(root).webhook_secret)
    size = (car.mask_HW.shape[0], car.mask_HW.shape[1])
    person = label_studio.credentials
    with logged_in(label_studio.url, person.email, person.password) as page:
        canvas = open_next_task(page, project.url, size)
        switch_on(page)
        take_the_smart_tool(page, "key-point-tool")
        choose_class(page, CLASSES.index("car"))
        answer = asked(page, lambda: ctrl_click(canvas, car.middle))
        assert "data" in answer, answer
        shot(page, "label-studio-click-on-a-car")
        submit(page)
    (task,) = annotator.tasks(project)
    (pulled,) = annotator.pull(project, [task.task_id]).annotations
    mask_HW = read_annotation(pulled.result, [], CLASSES, size=size).mask_HW
    said_HW = mask_HW == CLASSES.index("car")
    (kept,) = kept_clicks(root)
    assert kept.pixels == int(said_HW.sum())  # nothing was lost on the way
    iou = (said_HW & car.mask_HW).sum() / (said_HW | car.mask_HW).sum()
    print(f"IoU {iou:.3f}, first click {kept.seconds} s")
    assert iou > 0.8
