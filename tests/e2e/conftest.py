"""One workspace on real services: Prefect server and worker, Label Studio, the hook's receiver.

The campaign's tests share it and run in the order of the file, as a user's days do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.annotators.label_studio import LabelStudio
from flows.loop import open_loop
from flows.services import stack
from flows.views.status import Status, status
from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace
from pipeline.data.synthetic.domains import CLASSES, make_domain
from tests.support.label_studio_server import PERSON, label_studio_template, own_label_studio

WAIT_S = 420.0  # a guard against hanging, not a promise: timings are in benchmarks/
NUM_IMAGES = 10
QUERY_SIZE = 3
HEIGHT_PX, WIDTH_PX = 64, 96


class Live:
    """The running workspace and what a test asks of it."""

    def __init__(self, root: Path, truth: Path) -> None:
        self.root = root
        self.truth = truth  # images/ and masks/, outside the workspace
        self.email, self.password = PERSON.email, PERSON.password

    def up(self, schedule_s: int) -> None:
        for _ in stack.up(self.root, schedule_s=schedule_s):
            pass

    def status(self) -> Status:
        with open_loop(self.root) as loop:
            return status(loop)

    def tags(self) -> list[str]:
        return Workspace(self.root).tags_merged()

    def annotator(self) -> LabelStudio:
        with open_loop(self.root) as loop:
            return LabelStudio(*stack.annotation_tool(self.root, loop.read_params()))

    def wait(self, what: str, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > deadline:
                log = stack.log_of(self.root, stack.WORKER)
                pytest.fail(f"waited {WAIT_S:.0f} s for {what}; worker log:\n{stack.tail(log, 60)}")
            time.sleep(0.5)


@pytest.fixture(scope="session")
def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    base = tmp_path_factory.mktemp("live")
    root, truth = base / "scene", base / "truth"
    make_domain(
        "day",
        truth,
        num_labelled=0,
        num_pool=NUM_IMAGES,
        num_val=0,
        height_px=HEIGHT_PX,
        width_px=WIDTH_PX,
    )
    create_workspace(
        root,
        class_names=CLASSES,
        overrides={
            "image": {"height_px": HEIGHT_PX, "width_px": WIDTH_PX},
            "train": {"steps": 6, "batch_labelled": 2, "batch_unlabelled": 2},
            "acquire": {"query_size": QUERY_SIZE},
            "loop": {"budget": 2 * QUERY_SIZE},
        },
    )
    own_label_studio(root, label_studio_template(request))
    found = Live(root, truth)
    try:
        yield found
    finally:
        for _ in stack.down(root):
            pass


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image, dtype=np.uint8)
