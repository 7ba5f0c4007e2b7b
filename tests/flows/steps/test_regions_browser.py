"""Regions from the query to the mask through a real Label Studio and a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.session import open_ledger
from flows.annotators.label_studio import LabelStudio
from flows.domains.add import add_domain
from flows.loop import Loop
from flows.situation import read_situation
from flows.tick import tick
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.data.synthetic.domains import make_domain
from pipeline.records.regions import DIMMED, inside
from pipeline.types import IGNORE
from tests.flows.toy_stages import bands
from tests.support.browser import choose_class, logged_in, open_next_task, submit
from tests.support.label_studio_server import Server, label_studio

__all__ = ["label_studio"]

pytestmark = [pytest.mark.services, pytest.mark.browser]

SIZE = (240, 320)
ROAD, CAR, SKY = range(3)


@pytest.fixture
def loop(toy: Path, tmp_path: Path, label_studio: Server) -> Iterator[Loop]:
    """A street without a mask, of which 6 of 3 x 4 regions are asked for."""
    make_domain(
        "day",
        tmp_path / "day",
        num_labelled=0,
        num_pool=1,
        num_val=0,
        height_px=SIZE[0],
        width_px=SIZE[1],
    )
    workspace = Workspace(toy)
    acquire = {"query_unit": "region", "region_size_px": 32, "query_size": 6}
    workspace.write_params({"acquire": acquire, "loop": {"budget": 6, "val_share": 0.0}})
    workspace.commit([layout.PARAMS], "Ask for regions")
    add_domain(toy, "day", images=tmp_path / "day" / "images")
    ledger = open_ledger(toy / layout.LEDGER)
    server = LabelStudio(label_studio.url, label_studio.token)
    yield Loop(
        workspace=workspace,
        ledger=ledger,
        log=lambda line: None,
        annotator_factory=lambda *_: server,
    )
    ledger.close()


@pytest.fixture
def page(label_studio: Server) -> Iterator[Any]:
    """A page that is logged in."""
    person = label_studio.credentials
    with logged_in(label_studio.url, person.email, person.password) as page:
        yield page


def test_people_see_framed_regions_and_only_these_are_learnt(loop: Loop, page: Any) -> None:
    assert tick(loop) == "waiting 0/1: 1 open (day/r0)"
    (asked,) = read_situation(loop).query
    asked_HW = inside(asked.boxes, SIZE)
    assert asked_HW[:80].all()  # the upper third, and half of the next
    assert asked_HW.mean() == pytest.approx(0.5)

    canvas = open_next_task(page, loop.project("day").url, SIZE)
    with Image.open(loop.root / f"data/{asked.sample_id.replace('/', '/images/')}.png") as opened:
        image_HWC = np.asarray(opened.convert("RGB")).astype(int)
    # Outside, less light and no class; inside, the colours of the pre-annotation; a line between.
    for row, column in ((120, 250), (200, 160), (230, 300)):
        there = canvas.colour(row, column)
        assert np.abs(there - image_HWC[row, column] * DIMMED).max() <= 12, (row, column)
    road, car, line = (canvas.colour(row, 40) for row in (40, 100, 160))
    assert np.abs(road - car).max() > 15
    assert line.min() > 200  # dimmed, nothing is that bright

    # One stroke within the frame, one that leaves it on the right.
    choose_class(page, CAR)
    canvas.stroke(row=40, columns=(60, 260))
    choose_class(page, ROAD)
    canvas.stroke(row=120, columns=(60, 260))
    if folder := os.environ.get("SSL_LOOP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "label-studio-regions.png")
    submit(page)

    said: list[str] = []
    loop.log = said.append
    assert tick(loop).startswith("finished day")
    (told,) = [line for line in said if "left out" in line]
    assert told.startswith("day/street_0000/r0: ")
    with Image.open(loop.root / "data/day/masks/street_0000.png") as opened:
        mask_HW = np.asarray(opened)
    assert (mask_HW[~asked_HW] == IGNORE).all()
    assert (mask_HW[asked_HW] != IGNORE).all()
    assert (mask_HW[40, 62:259] == CAR).all()
    assert (mask_HW[120, 62:160] == ROAD).all()
    (sample,) = loop.workspace.manifest()
    assert sample.boxes == asked.boxes
    np.testing.assert_array_equal(mask_HW[:10], bands(*SIZE, 3)[:10])
