"""The whole of click to mask: a teacher of twelve labels, its process, Label Studio, Chromium."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.clicks.teachers import asked_samples, synthetic_workspace
from flows.annotators import brush_rle
from flows.annotators.annotator import Owner, PushItem
from flows.annotators.assist.click_log import kept_clicks
from flows.annotators.label_studio import LabelStudio
from flows.annotators.masks import PAINTED, read_annotation
from flows.processes.command import wait_until
from flows.services.daemon import answers, free_port
from flows.services.stack import assist_command
from flows.workspace.credentials import credentials
from flows.workspace.identity import new_identity, require_identity
from pipeline import layout
from pipeline.clicks.simulated_clicker import iou, next_click, things_of
from pipeline.data.formats.images import load_mask
from pipeline.data.synthetic.domains import CLASSES
from pipeline.files import sha256_file
from pipeline.ids import item_id
from pipeline.records.manifest import Sample
from pipeline.records.query import write_query
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

CAR = CLASSES.index("car")
ENOUGH, MOST_CLICKS = 0.8, 12

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.programs, pytest.mark.heavy]


@dataclass(frozen=True)
class Car:
    """A car in an image that no teacher learnt from."""

    sample: Sample
    mask_HW: np.ndarray[Any, Any]


def largest_car(root: Path) -> Car:
    """The one with the most pixels."""
    found: list[Car] = []
    for sample in asked_samples(root):
        truth_HW = load_mask(root / sample.mask, len(CLASSES))
        found += [Car(sample, thing.area_HW) for thing in things_of(truth_HW, CAR)[:1]]
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


def test_some_clicks_on_a_car_are_the_car_and_what_was_seen_is_merged(
    root: Path, url: str, label_studio: Server
) -> None:
    car = largest_car(root)
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
        choose_class(page, CAR)
        ious = [0.0]
        seen: dict[str, np.ndarray[Any, Any]] = {}  # region -> what the page shows of it
        while ious[-1] <= ENOUGH and len(ious) <= MOST_CLICKS:
            found_HW = np.any([np.zeros(size, dtype=bool), *seen.values()], axis=0)
            click = next_click(found_HW, car.mask_HW)
            assert click is not None
            place = (int(click.row), int(click.column))
            answer = asked(page, partial(ctrl_click, canvas, place, alt=not click.positive))
            for region in answer["data"]["result"]:
                seen[region["id"]] = brush_rle.decode(region["value"]["rle"], *size) > PAINTED
            found_HW = np.any(list(seen.values()), axis=0)
            ious.append(iou(found_HW, car.mask_HW))
        shot(page, "label-studio-click-on-a-car")
        submit(page)
    (task,) = annotator.tasks(project)
    (pulled,) = annotator.pull(project, [task.task_id]).annotations
    mask_HW = read_annotation(pulled.result, [], CLASSES, size=size).mask_HW
    np.testing.assert_array_equal(mask_HW == CAR, found_HW)
    kept = kept_clicks(root)
    assert len(kept) == len(ious) - 1
    shown = ", ".join(f"{each:.2f}" for each in ious[1:])
    print(f"IoU after each click: {shown}; seconds: {[one.seconds for one in kept]}")
    assert ious[-1] > ENOUGH


def test_the_images_of_a_query_are_prepared_before_anybody_clicks(root: Path, url: str) -> None:
    sample = asked_samples(root)[-1]
    picks: list[Any] = [
        SimpleNamespace(sample_id=sample.sample_id, score=0.5, reason="because", source="strategy")
    ]
    write_query(root / layout.QUERY, picks, num_candidates=1)
    digest = sha256_file(root / sample.image)
    assert wait_until(lambda: bool([*(root / layout.CLICKS).rglob(f"{digest}*")]), 120)
