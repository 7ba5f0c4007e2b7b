"""What is sent of an image of which regions are asked for, and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flows.annotators.outgoing import ONLY_INSIDE, prepare
from pipeline.errors import DataError
from pipeline.regions import Box, framed
from tests.flows.annotators.conftest import CLASSES, MakeItems

BOXES = (Box(8, 0, 16, 24), Box(40, 24, 24, 24))


def test_regions_are_framed_and_named(make_items: MakeItems) -> None:
    plain, item = make_items(2)
    (whole, part) = prepare([plain, replace(item, regions=BOXES)], CLASSES, "m")
    assert whole.file == (plain.image.name, plain.image.read_bytes())
    assert set(whole.task("/x")["data"]) == {
        "image", "item_id", "sample_id", "uncertainty", "reason",
    }  # fmt: skip
    name, content = part.file
    assert name.endswith(".png")
    with Image.open(item.image) as image, Image.open(io.BytesIO(content)) as sent:
        np.testing.assert_array_equal(np.asarray(sent), framed(np.asarray(image), BOXES))
    data = part.task("/x")["data"]
    assert data["regions"] == "8,0,16,24;40,24,24,24"
    assert data["reason"] == f"{item.reason}. {ONLY_INSIDE}"


def test_regions_beyond_the_image_are_refused(make_items: MakeItems) -> None:
    (item,) = make_items(1)
    with pytest.raises(DataError, match=r"regions \['60,0,8,8'\] reach beyond.*\(48, 64\)"):
        prepare([replace(item, regions=(BOXES[0], Box(60, 0, 8, 8)))], CLASSES, "m")
