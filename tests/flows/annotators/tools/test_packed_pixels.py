"""Pixels of regions in bits, and answers read some rows at a time."""

from __future__ import annotations

import numpy as np
import pytest

from flows.annotators.masks import brush_region, encode_result, read_annotation
from flows.annotators.tools import packed_pixels
from flows.annotators.tools.packed_pixels import PackedPixels, strips

CLASSES = ["sky", "building", "road", "car"]
SIZE = (13, 19)


def some(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SIZE) < 0.5


def test_packed_pixels_are_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_pixels, "PIXELS_AT_ONCE", 40)
    pixels_HW, other_HW = some(0), some(1)
    packed, other = PackedPixels(pixels_HW), PackedPixels(other_HW)
    assert len(list(strips(SIZE))) == 7
    assert np.array_equal(np.concatenate([packed.rows(rows) for rows in strips(SIZE)]), pixels_HW)
    assert len(packed) == pixels_HW.sum()
    assert packed.same_as(PackedPixels(pixels_HW))
    assert not packed.same_as(other)
    assert not packed.within(other)
    assert PackedPixels(pixels_HW & other_HW).within(packed)


def test_strips_make_no_difference_to_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    mask_HW = np.random.default_rng(2).integers(0, 4, SIZE).astype(np.uint8)
    sent = encode_result(mask_HW, CLASSES, "day/a/r0")
    grown = brush_region(some(3) * np.uint8(255), "building", region_id=sent[1]["id"])
    new = brush_region(some(4) * np.uint8(255), "car", region_id="new")
    answer = [sent[0], grown, *sent[2:], new]
    whole = read_annotation(answer, sent, CLASSES, size=SIZE)
    assert len(np.unique(whole.mask_HW)) == 5  # some cannot be told
    monkeypatch.setattr(packed_pixels, "PIXELS_AT_ONCE", 40)
    parts = read_annotation(answer, sent, CLASSES, size=SIZE)
    assert np.array_equal(parts.mask_HW, whole.mask_HW)
    assert parts.beside == whole.beside
