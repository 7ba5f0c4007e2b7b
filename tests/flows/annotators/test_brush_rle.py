"""The codec against the SDK's own, on random masks, and against malformed input."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flows.annotators.brush_rle import decode, encode
from pipeline.errors import AnnotationError

sdk = pytest.importorskip("label_studio_sdk.converter.brush")


@st.composite
def alphas(draw: st.DrawFn) -> np.ndarray:
    """Images of odd sizes: rows or columns of one value, noise of few or many values, constants."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    values = draw(st.sampled_from([st.sampled_from([0, 255]), st.integers(0, 255)]))
    shape = draw(st.sampled_from([(height, width), (height, 1), (1, width), (1, 1)]))
    drawn = draw(arrays(np.uint8, shape, elements=values))
    return np.ascontiguousarray(np.broadcast_to(drawn, (height, width)))


def _without_padding_quirk(code: list[int], alpha_HW: np.ndarray) -> list[int]:
    """The SDK's bytes less the zero byte that it adds where the bits fill whole bytes."""
    ours = encode(alpha_HW)
    return code[:-1] if len(code) == len(ours) + 1 and code[-1] == 0 else code


@given(alphas())
def test_bytes_are_those_of_the_sdk(alpha_HW: np.ndarray) -> None:
    assert encode(alpha_HW) == _without_padding_quirk(sdk.mask2rle(alpha_HW), alpha_HW)


@pytest.mark.parametrize("has_quirk", [True, False])
def test_images_with_the_padding_quirk_and_without_it_are_drawn(has_quirk: bool) -> None:
    def met(alpha_HW: np.ndarray) -> bool:
        return (len(sdk.mask2rle(alpha_HW)) > len(encode(alpha_HW))) == has_quirk

    assert met(find(alphas(), met))


@given(alphas())
def test_decoding_gives_back_what_was_encoded_by_us_or_by_the_sdk(alpha_HW: np.ndarray) -> None:
    np.testing.assert_array_equal(decode(encode(alpha_HW), *alpha_HW.shape), alpha_HW)
    np.testing.assert_array_equal(decode(sdk.mask2rle(alpha_HW), *alpha_HW.shape), alpha_HW)


@pytest.mark.parametrize("pixels", [16383, 16384, 16385, 32768, 32832, 40000])
def test_runs_longer_than_65536_values(pixels: int) -> None:
    alpha_HW = np.zeros((1, pixels + 3), dtype=np.uint8)
    alpha_HW[:, :pixels] = 255
    for code in (encode(alpha_HW), sdk.mask2rle(alpha_HW)):
        np.testing.assert_array_equal(decode(code, *alpha_HW.shape), alpha_HW)
        np.testing.assert_array_equal(sdk.decode_rle(code)[3::4], alpha_HW.ravel())


BY_CHROMIUM = (
    [0, 4, 176, 0, 57, 27, 255, 255, 255, 255, 159, 255, 255, 255, 128, 127, 255, 240, 15, 255,
     254, 1, 235, 253, 192, 0],
    [0, 4, 176, 0, 57, 27, 255, 255, 255, 0, 156, 3, 255, 255, 255, 225, 127, 255, 255, 254, 1,
     255, 255, 192, 61, 126, 248, 0],
)  # fmt: skip


def test_bytes_are_those_of_the_browser() -> None:
    """As Chromium 156 gave them for Label Studio 1.23.2: runs of 16386 and 16390 pixels, where
    the SDK's form is longer."""
    first, second = np.zeros((2, 240, 320), dtype=np.uint8)
    first.ravel()[:16386] = 255
    second.ravel()[16386 : 16386 + 16390] = 255
    assert encode(first) == BY_CHROMIUM[0]
    assert encode(second) == BY_CHROMIUM[1]


def _bytes(bits: str) -> list[int]:
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


HEADER_2_PIXELS = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"


def test_values_one_after_another_are_read_too() -> None:
    """RGBA of two pixels, (1, 2, 3, 200) then (9, 9, 9, 9): a literal block, then a run."""
    literal = "0" + "00" + f"{3:03b}" + "".join(f"{v:08b}" for v in (1, 2, 3, 200))
    run = "1" + "00" + f"{3:03b}" + f"{9:08b}"
    code = _bytes(HEADER_2_PIXELS + literal + run)
    np.testing.assert_array_equal(decode(code, 1, 2), [[200, 9]])
    assert sdk.decode_rle(code).tolist() == [1, 2, 3, 200, 9, 9, 9, 9]


def test_long_literal_blocks() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 256, 4 * 70)
    header = f"{len(values):032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    body = "".join(
        "010" + f"{len(part) - 1:08b}"[-8:] + "".join(f"{v:08b}" for v in part)
        for part in (values[:250], values[250:])
    )
    code = _bytes(header + body)
    np.testing.assert_array_equal(decode(code, 7, 10).ravel(), values[3::4])


GOOD = encode(np.kron(np.eye(9, dtype=np.uint8), np.ones((5, 4), dtype=np.uint8)) * 255)


@pytest.mark.parametrize(
    ("rle", "complaint"),
    [
        (None, "NoneType, expected a list"),
        ("AAAA", "str, expected a list"),
        (10**12, "int, expected a list"),
        ([], "truncated: 0 bytes"),
        ([0, 0, 0], "truncated: 3 bytes"),
        (GOOD[:7], "truncated"),
        (GOOD[: len(GOOD) // 2], "truncated"),
        (GOOD[:-2], "truncated"),
        ([*GOOD[:20], -1, *GOOD[21:]], "holds '-1'"),
        ([*GOOD[:20], 256, *GOOD[21:]], "holds '256'"),
        ([*GOOD[:20], 1.5, *GOOD[21:]], "holds '1.5'"),
        ([*GOOD[:20], "7", *GOOD[21:]], "holds '7'"),
        ([*GOOD[:20], None, *GOOD[21:]], "holds 'None'"),
        ([*GOOD[:20], [1], *GOOD[21:]], "holds"),
        ([255, 255, 255, 255, *GOOD[4:]], "of 4294967295 values"),
        ([*GOOD[:4], 255, *GOOD[5:]], "32-bit values"),
        ([*GOOD, 0, 0], "goes on for"),
        ([*GOOD, *[77] * 100], "goes on for"),
        ([*GOOD, *[0] * 100_000], "too long"),
        (GOOD[:7] + [255] * len(GOOD), "runs over its end"),
    ],
)
def test_malformed_input_is_refused_in_words(rle: object, complaint: str) -> None:
    with pytest.raises(AnnotationError, match=complaint):
        decode(rle, 45, 36)


@given(
    changes=st.dictionaries(st.integers(0, len(GOOD) - 1), st.integers(0, 255), max_size=9),
    length=st.integers(1, len(GOOD)),
)
def test_damaged_input_never_crashes(changes: dict[int, int], length: int) -> None:
    damaged = [changes.get(place, value) for place, value in enumerate(GOOD)][:length]
    try:
        alpha_HW = decode(damaged, 45, 36)
    except AnnotationError:
        return
    assert alpha_HW.shape == (45, 36)


def test_another_size_is_refused() -> None:
    with pytest.raises(AnnotationError, match="expected 400"):
        decode(GOOD, 10, 10)


def test_a_claimed_size_allocates_nothing() -> None:
    claim = _bytes(f"{4 * 30000 * 30000 % 2**32:032b}" + HEADER_2_PIXELS[32:])
    tracemalloc.start()
    with pytest.raises(AnnotationError):
        decode(claim, 30000, 30000)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "alpha", [np.zeros((2, 2)), np.zeros(4, dtype=np.uint8), np.zeros((0, 3), dtype=np.uint8)]
)
def test_only_uint8_images_are_encoded(alpha: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a non-empty array"):
        encode(alpha)
