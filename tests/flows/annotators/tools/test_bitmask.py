"""Bitmask regions: what their PNG's alpha says, and what is none."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from flows.annotators.tools.bitmask import PREFIX, bitmask_alpha
from pipeline.errors import AnnotationError

SIZE = (5, 7)


def url_of(image: Image.Image, kind: str = "PNG") -> str:
    content = io.BytesIO()
    image.save(content, kind)
    return PREFIX + base64.b64encode(content.getvalue()).decode()


def black(alpha_HW: np.ndarray) -> Image.Image:
    """As Label Studio writes it: black paint on nothing."""
    rgba = np.zeros((*alpha_HW.shape, 4), dtype=np.uint8)
    rgba[..., 3] = alpha_HW
    return Image.fromarray(rgba)


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, SIZE, elements=st.integers(0, 255)))
def test_alpha_comes_back_as_it_was_painted(alpha_HW: np.ndarray) -> None:
    np.testing.assert_array_equal(bitmask_alpha(url_of(black(alpha_HW)), SIZE), alpha_HW)


@pytest.mark.parametrize("url", [None, ""])
def test_a_region_without_a_stroke_has_no_pixel(url: Any) -> None:
    assert not bitmask_alpha(url, SIZE).any()


WHOLE = np.full(SIZE, 255, dtype=np.uint8)
GOOD = url_of(black(WHOLE))


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (3, "no text that begins"),
        (["x"], "no text that begins"),
        ("data:", "no text that begins"),
        (GOOD.replace("png", "gif"), "no text that begins"),
        (PREFIX, "no PNG that can be read"),
        (f"{PREFIX}a", "no PNG that can be read"),
        (f"{GOOD[:80]}\u2060{GOOD[81:]}", "no PNG that can be read"),
        (GOOD[: len(GOOD) // 8 * 4], "no PNG that can be read"),
        (url_of(black(WHOLE), "GIF"), "no PNG that can be read"),
        (url_of(black(WHOLE.T)), r"bitmask of \(7, 5\) .*image is \(5, 7\)"),
        (url_of(Image.fromarray(WHOLE)), "mode L, expected one with alpha"),
        (url_of(Image.new("RGB", SIZE[::-1])), "mode RGB"),
        (url_of(Image.new("RGBA", (4000, 4000))), r"bitmask of \(4000, 4000\)"),
    ],
)
def test_what_is_no_png_of_the_image_s_size_is_refused(url: Any, named: str) -> None:
    with pytest.raises(AnnotationError, match=named) as caught:
        bitmask_alpha(url, SIZE)
    json.dumps(str(caught.value)).encode()
