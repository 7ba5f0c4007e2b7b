"""What is sent of an image of which regions are asked for, and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flows.annotators.label_studio_tasks import ONLY_INSIDE, ONLY_WRONG, batches, prepare
from flows.annotators.masks import as_painted
from pipeline.errors import DataError
from pipeline.records.regions import Box, framed
from tests.flows.annotators.conftest import CLASSES, MakeItems

BOXES = (Box(8, 0, 16, 24), Box(40, 24, 24, 24))


def test_regions_are_framed_and_named(make_items: MakeItems) -> None:
    plain, item = make_items(2)
    (whole, part) = prepare([plain, replace(item, regions=BOXES)], CLASSES, "m")
    assert whole.file == (plain.image.name, plain.image.read_bytes())
    assert set(whole.task("/x")["data"]) == {
        "image",
        "image_sha256",
        "item_id",
        "sample_id",
        "workspace",
        "uncertainty",
        "reason",
    }
    name, content = part.file
    assert name.endswith(".png")
    with Image.open(item.image) as image, Image.open(io.BytesIO(content)) as sent:
        np.testing.assert_array_equal(np.asarray(sent), framed(np.asarray(image), BOXES))
    data = part.task("/x")["data"]
    assert data["regions"] == "8,0,16,24;40,24,24,24"
    assert data["reason"] == f"{item.reason}. {ONLY_INSIDE}"


def test_what_is_bare_is_said_above_the_image(make_items: MakeItems) -> None:
    """And what the model could not tell is painted unknown."""
    plain, item = make_items(2)
    bare = as_painted(item.pre_annotation_HW, CLASSES, "road")
    asked = replace(item, background="road", pre_annotation_HW=bare)
    (whole, part) = prepare([asked, replace(plain, background="sky", regions=BOXES)], CLASSES, "m")
    data = whole.task("/x")["data"]
    assert data["background"] == "road"
    assert data["reason"] == f"{item.reason}. What you leave bare counts as road."
    labels = [region["value"]["labels"][0] for region in whole.result]
    assert labels == ["sky", "building", 'car & <"van">', "unknown"]
    said = part.task("/x")["data"]["reason"]
    assert said == f"{plain.reason}. {ONLY_INSIDE} What you leave bare counts as sky."


def test_a_correction_says_that_only_what_is_wrong_is_asked_for(make_items: MakeItems) -> None:
    plain, item = make_items(2)
    whole, corrected = prepare([plain, replace(item, corrects=True)], CLASSES, "m")
    assert "corrections" not in whole.task("/x")["data"]
    data = corrected.task("/x")["data"]
    assert data["corrections"] == "yes"
    assert data["reason"] == f"{item.reason}. {ONLY_WRONG}"
    with Image.open(item.image) as image, Image.open(io.BytesIO(corrected.file[1])) as sent:
        np.testing.assert_array_equal(np.asarray(sent), np.asarray(image))  # all of it, no frames


def test_regions_beyond_the_image_are_refused(make_items: MakeItems) -> None:
    (item,) = make_items(1)
    with pytest.raises(DataError, match=r"regions \['60,0,8,8'\] reach beyond.*\(48, 64\)"):
        prepare([replace(item, regions=(BOXES[0], Box(60, 0, 8, 8)))], CLASSES, "m")


def test_batches_keep_both_bounds_and_the_order(make_items: MakeItems) -> None:
    uploads = prepare(make_items(7), CLASSES, "m")
    largest = max(one.num_bytes for one in uploads)
    assert largest > 48 * 64 * 3  # noise does not compress
    by_count = list(batches(uploads, max_items=3))
    assert [len(batch) for batch in by_count] == [3, 3, 1]
    assert [one for batch in by_count for one in batch] == uploads
    by_bytes = list(batches(uploads, max_bytes=2 * largest))
    assert all(sum(one.num_bytes for one in batch) <= 2 * largest for batch in by_bytes)
    assert 4 <= len(by_bytes) < 7
    assert [len(batch) for batch in batches(uploads, max_bytes=1)] == [1] * 7
    assert list(batches([])) == []


def test_the_masks_count_as_bytes_too(make_items: MakeItems) -> None:
    without, masked = (prepare(make_items(1, masks=m), CLASSES, "m")[0] for m in (False, True))
    assert masked.num_bytes - without.num_bytes > len(str(masked.result)) / 2


def test_what_is_framed_counts_at_least_what_is_sent(make_items: MakeItems) -> None:
    (item,) = make_items(1)
    Image.open(item.image).convert("L").save(item.image)
    (framed_one,) = prepare([replace(item, regions=BOXES)], CLASSES, "m")
    _, content = framed_one.file
    assert framed_one.num_bytes >= 0.9 * len(content)
