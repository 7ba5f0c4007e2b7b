"""Strips at an image's own size: those of all logits resized at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.inference import strips
from pipeline.inference.strips import LogitsAt, strips_of
from pipeline.inference.tiles import Band

ONE, OTHER = nn.Identity(), nn.Identity()


def bands_of(logits_KHW: Tensor, rows: int) -> list[dict[nn.Module, Band]]:
    """Of two views; the other's logits are the negative ones."""
    height = logits_KHW.shape[1]
    parts = [(first, logits_KHW[:, first : first + rows]) for first in range(0, height, rows)]
    return [{ONE: Band(part, at, height), OTHER: Band(-part, at, height)} for at, part in parts]


def test_pixels_are_areas_when_logits_are_resized() -> None:
    (strip,) = strips_of(bands_of(torch.tensor([[[0.0, 1.0]]]), 1), (1, 4))
    # align_corners=False: centres at 1/8, 3/8, ... of the width.
    torch.testing.assert_close(strip.logits[ONE], torch.tensor([[[0.0, 0.25, 0.75, 1.0]]]))


@pytest.mark.parametrize("rows", [1, 3, 5, 8])
@pytest.mark.parametrize("size", [(50, 30), (5, 9), (8, 6), (8, 7), (1, 1), (9, 6)])
def test_bands_make_no_difference(
    rows: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "STRIP", 3 * size[1] * 2)  # two rows at once
    logits_KHW = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0))
    found = list(strips_of(bands_of(logits_KHW, rows), size))
    ends = [0, *(strip.rows.stop for strip in found)]
    assert [strip.rows.start for strip in found] == ends[:-1]
    assert ends[-1] == size[0]
    expected = F.interpolate(logits_KHW[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.cat([each.logits[ONE] for each in found], 1), expected)
    torch.testing.assert_close(torch.cat([each.logits[OTHER] for each in found], 1), -expected)


def test_at_its_own_size_logits_stay_as_they_are() -> None:
    logits_KHW = torch.rand(3, 8, 6)
    found = [strip.logits[ONE] for strip in strips_of(bands_of(logits_KHW, 3), (8, 6))]
    assert torch.equal(torch.cat(found, 1), logits_KHW)


def test_strips_come_before_the_last_band() -> None:
    bands = iter(bands_of(torch.rand(3, 8, 6), 2))
    first = next(strips_of(bands, (80, 6)))
    assert first.rows.start == 0
    assert len(list(bands)) == 3


def test_logits_at_places_come_in_the_order_of_the_places() -> None:
    logits_KHW = torch.rand(3, 8, 6)
    place_M = np.random.default_rng(0).permutation(48)[:20]
    found = LogitsAt(place_M, 6)
    for strip in strips_of(bands_of(logits_KHW, 3), (8, 6)):
        found.add(strip.rows, strip.logits[ONE])
    np.testing.assert_array_equal(found.logits_MK, logits_KHW.flatten(1)[:, place_M].T.numpy())
