"""Images that no label would help with: blank, blurred, seen twice, of another scene.

Careful rather than thorough: what is left out is asked for no more, so a doubtful image stays.
Of 1,365 real images (street scenes; microscopy of four kinds, dark ones among them) none is left
out.

Shape suffixes: H height, W width, C = 3 colours, N images, F features of a scene.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONG_SIDE_PX = 512  # looked at so large: what a training sees, and quick with photographs
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601

BLOCK_PX = 8
# Grey levels between the lightest and the darkest block. The darkest real image has 24; noise of
# a covered lens with a standard deviation of 5 has 5.
BLANK_BELOW = 8.0
# Share of the domain's median sharpness. Real images have 0.41 and more; street scenes blurred
# by 3 px have at most 0.23.
BLURRED_BELOW = 0.25
# A scene's distance from the nearest other, and that over the domain's median. Real images have
# one of them less; every street scene among cells and every cell among street scenes has more.
FAR, TIMES_USUAL = 0.3, 4.0
FEW = 20  # with fewer images nothing is usual
NUM_LEVELS, NUM_DIRECTIONS = 5, 8
ROWS_AT_ONCE = 1024
SHOWN = 20  # lines in a terminal

Pixels = NDArray[np.uint8]
Reals = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What one image shows at a glance."""

    pixels_sha256: str
    contrast: float
    """Between the lightest and the darkest block, in grey levels of 255."""
    sharpness: float
    """Fine detail over all contrast, at half the size."""
    scene_F: Reals
    """Colours and edges, norm 1."""


def look_at(image_HWC: Pixels) -> Look:
    """A glance at an RGB image; every pixel counts for its hash alone."""
    factor = max(1, max(image_HWC.shape) // LONG_SIDE_PX)
    small_HWC = np.asarray(Image.fromarray(image_HWC).reduce(factor))
    grey_HW = small_HWC.astype(np.float32) @ GREY
    blocks_HW = _shrunk(grey_HW, BLOCK_PX)
    return Look(
        pixels_sha256=pixels_sha256(image_HWC),
        contrast=float(blocks_HW.max() - blocks_HW.min()),
        sharpness=_detail(_shrunk(grey_HW, 2)) / max(1.0, float(grey_HW.std())),
        scene_F=_scene(small_HWC, grey_HW),
    )


def pixels_sha256(image_HWC: Pixels) -> str:
    """The same for the same pixels, whatever file they come from."""
    digest = hashlib.sha256("x".join(map(str, image_HWC.shape)).encode())
    digest.update(np.ascontiguousarray(image_HWC).data)
    return digest.hexdigest()


def to_leave_out(looks: Mapping[str, Look], needed: Collection[str]) -> dict[str, str]:
    """Names of images to do without, each with the reason in words.

    The images `needed` are always kept: those with masks. Of images with the same pixels the
    needed or the first is kept.
    """
    reasons = _duplicates(looks, needed)
    names = [name for name in looks if name not in reasons]
    for name in names:
        if (contrast := looks[name].contrast) < BLANK_BELOW:
            reasons[name] = f"blank: all of it within {contrast:.0f} of 255 grey levels"
    names = [name for name in names if name not in reasons]
    if len(names) >= FEW:
        usual = float(np.median([looks[name].sharpness for name in names]))
        for name in names:
            if (sharpness := looks[name].sharpness) < BLURRED_BELOW * usual:
                reasons[name] = f"blurred: {sharpness / usual:.0%} of the usual sharpness here"
        reasons |= _other_scenes(looks, [name for name in names if name not in reasons])
    return {name: reasons[name] for name in looks if name in reasons and name not in needed}


def why_unfit(look: Look, usual_sharpness: float) -> str:
    """Of one image by itself: the reason in words why it shows nothing, "" where it does.

    As `to_leave_out`, with what is usual in other images.
    """
    if look.contrast < BLANK_BELOW:
        return f"blank: all of it within {look.contrast:.0f} of 255 grey levels"
    if look.sharpness < BLURRED_BELOW * usual_sharpness:
        return f"blurred: {look.sharpness / usual_sharpness:.0%} of the usual sharpness here"
    return ""


def in_words(domain: str, left_out: Mapping[str, str]) -> list[str]:
    """Lines for the person who brought the images; none when all are in use."""
    if not left_out:
        return []
    lines = [f"left out of the loop: {len(left_out)}, kept on disk"]
    lines += [f"  {sample_id}: {why}" for sample_id, why in [*left_out.items()][:SHOWN]]
    if len(left_out) > SHOWN:
        lines.append(f"  and {len(left_out) - SHOWN} more: the report has pictures")
    return [*lines, f"to use them all the same: ssl-loop domain let-in {domain}"]


def _duplicates(looks: Mapping[str, Look], needed: Collection[str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for name in sorted(looks, key=lambda name: (name not in needed, name)):
        other = kept.setdefault(looks[name].pixels_sha256, name)
        if other != name:
            reasons[name] = f"duplicate: the same pixels as {other}"
    return reasons


def _other_scenes(looks: Mapping[str, Look], names: list[str]) -> dict[str, str]:
    # By products of rows of norm 1: sklearn's NearestNeighbors takes 1.8 times as long for 5,000
    # images, 3 times for 500, and a second more to import.
    scenes_NF = np.stack([looks[name].scene_F for name in names])
    nearest_N = np.empty(len(names))
    for first in range(0, len(names), ROWS_AT_ONCE):
        alike = scenes_NF[first : first + ROWS_AT_ONCE] @ scenes_NF.T
        alike[np.arange(len(alike)), first + np.arange(len(alike))] = -1  # but for itself
        nearest_N[first : first + ROWS_AT_ONCE] = alike.max(axis=1)
    distance_N = np.sqrt(np.maximum(0, 2 - 2 * nearest_N))
    usual = float(np.median(distance_N))
    return {
        name: f"another scene: {distance / max(usual, 1e-3):.0f} times as far as usual from the "
        "nearest other"
        for name, distance in zip(names, distance_N, strict=True)
        if distance > max(FAR, TIMES_USUAL * usual)
    }


def _scene(small_HWC: Pixels, grey_HW: Reals) -> Reals:
    """Square roots of two histograms: of colours, four levels a channel, and of edges."""
    red_HW, green_HW, blue_HW = np.moveaxis(small_HWC // 64, 2, 0)
    colours = np.bincount((red_HW * 16 + green_HW * 4 + blue_HW).ravel(), minlength=64)
    coarse_HW = _shrunk(grey_HW, 4)
    if min(coarse_HW.shape) < 2:
        return _root(colours)
    down_HW, right_HW = np.gradient(coarse_HW)
    level_HW = np.searchsorted([1, 3, 9, 27], np.hypot(down_HW, right_HW))
    turn_HW = np.arctan2(down_HW, right_HW) % np.pi / np.pi * NUM_DIRECTIONS
    edges_HW = level_HW * NUM_DIRECTIONS + turn_HW.astype(int).clip(0, NUM_DIRECTIONS - 1)
    edges = np.bincount(edges_HW.ravel(), minlength=NUM_LEVELS * NUM_DIRECTIONS)
    return np.concatenate([_root(colours), _root(edges)]) * np.float32(np.sqrt(0.5))


def _root(counts: NDArray[np.intp]) -> Reals:
    return np.sqrt(counts / counts.sum()).astype(np.float32)


def _detail(grey_HW: Reals) -> float:
    """Root mean square of how far a pixel is from its four neighbours together."""
    middle_HW = grey_HW[1:-1, 1:-1]
    around_HW = grey_HW[:-2, 1:-1] + grey_HW[2:, 1:-1] + grey_HW[1:-1, :-2] + grey_HW[1:-1, 2:]
    return float(np.sqrt(np.square(4 * middle_HW - around_HW).mean())) if middle_HW.size else 0.0


def _shrunk(grey_HW: Reals, factor: int) -> Reals:
    """Means of squares of `factor` pixels; an image smaller than two of them stays as it is."""
    height, width = (size // factor for size in grey_HW.shape)
    if min(height, width) < 2:
        return grey_HW
    cut_HW = grey_HW[: height * factor, : width * factor]
    shrunk_HW: Reals = cut_HW.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return shrunk_HW
