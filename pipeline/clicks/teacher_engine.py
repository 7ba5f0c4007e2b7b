"""Click to mask by the teacher: its features and probabilities spread from the marks.

First over patches of the image, which takes milliseconds; then the border alone, pixel by pixel.
It always works: before there is a teacher colours and the frozen encoder's features hold the mask
together, and every better teacher draws it better. N patches, S marked ones, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from pipeline import layout
from pipeline.clicks.looks import Look, look_of
from pipeline.clicks.marks import Box, Click, Mark, check_marks
from pipeline.clicks.prepared_image import PreparedImage, load, prepared, save
from pipeline.clicks.propagation import (
    Floats,
    Places,
    Walk,
    edge_costs,
    geodesic,
    likeness,
    random_walk,
)
from pipeline.clicks.snapping import Snap, connected, snapped
from pipeline.clicks.superpixels import smoothed
from pipeline.config.params import Params
from pipeline.data.formats.images import load_image
from pipeline.errors import AnnotationError, DataError
from pipeline.files import sha256_file

CACHE_MIB = 256
Bools = NDArray[np.bool_]


class TeacherEngine:
    """Masks of one workspace's images, by the teacher that it has when this object is made.

    Safe to call from several threads.
    """

    name = "teacher"

    def __init__(
        self,
        root: Path,
        params: Params,
        *,
        cache_mib: int = CACHE_MIB,
        walk: Walk | None = None,
        snap: Snap | None = None,
    ) -> None:
        """`root` of the workspace; `cache_mib` of prepared images are kept in memory.

        ModelError for a teacher that cannot be read.
        """
        self._root = root
        self._classes = params.classes
        self._walk, self._snap = walk or Walk(), snap or Snap()
        self._look: Look = look_of(root, params)
        self._folder = root / layout.CLICKS / self._look.key
        self._cache = _Cache(cache_mib * 2**20)
        self._looking = Lock()

    def prepare(self, image: Path) -> None:
        """As of every engine."""
        self._prepared(image)

    def mask(self, image: Path, marks: Sequence[Mark], class_index: int) -> Bools:
        """As of every engine."""
        if not 0 <= class_index < len(self._classes):
            raise AnnotationError(
                f"class {class_index}: expected 0 to {len(self._classes) - 1}, one of "
                f"{', '.join(self._classes)}"
            )
        found = self._prepared(image)
        check_marks(marks, found.size)
        marked = Marked.of(found, marks)
        x_N = self._patches(found, marked, class_index)
        return _pixels(found, marked, x_N, class_index, self._snap)

    def _prepared(self, image: Path) -> PreparedImage:
        stat = image.stat()
        key = (str(image), stat.st_size, stat.st_mtime_ns)
        if (found := self._cache.get(key)) is not None:
            return found
        with self._looking:  # torch takes all cores for one image
            if (found := self._cache.get(key)) is not None:
                return found
            found = self._read_or_made(image)
            self._cache.put(key, found)
            return found

    def _read_or_made(self, image: Path) -> PreparedImage:
        file = self._folder / f"{sha256_file(image)}.npz"
        pixels_HWC = load_image(image)
        if file.exists():
            try:
                return load(file, pixels_HWC)
            except DataError:
                pass  # made again
        found = prepared(pixels_HWC, self._look(image))
        save(found, file)
        return found

    def _patches(self, image: PreparedImage, marked: Marked, class_index: int) -> Floats:
        walk = self._walk
        costs_P = edge_costs(image, walk)
        weights_P = (np.exp(-costs_P) + walk.least) * image.border_P
        prior_N = prior_of(image, marked, class_index, costs_P, walk)
        return random_walk(image, weights_P, prior_N, walk.strength, marked.fixed_N)


class Marked:
    """Marks, as patches."""

    def __init__(self, positive_S: Places, negative_S: Places, outside_N: Bools) -> None:
        self.positive_S, self.negative_S, self.outside_N = positive_S, negative_S, outside_N
        self.fixed_N = np.where(outside_N, np.float32(0), np.float32(np.nan))
        self.fixed_N[negative_S] = 0
        self.fixed_N[positive_S] = 1
        self.clicked: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []
        self.inside: list[tuple[slice, slice]] = []

    @classmethod
    def of(cls, image: PreparedImage, marks: Sequence[Mark]) -> Marked:
        """Patches under the clicks; outside is what lies in no box, where there is one."""
        scale = [few / many for few, many in zip(image.patch_hw.shape, image.size, strict=True)]

        def patch(click: Click) -> int:
            row, column = click.pixel(image.size)
            return int(image.patch_hw[int(row * scale[0]), int(column * scale[1])])

        clicks = [mark for mark in marks if isinstance(mark, Click)]
        boxes = [mark for mark in marks if isinstance(mark, Box)]
        outside_N = np.zeros(len(image.colour_N3), bool)
        if boxes:
            outside_N[:] = True
            for box in boxes:
                small = Box(
                    box.top * scale[0],
                    box.left * scale[1],
                    box.bottom * scale[0],
                    box.right * scale[1],
                )
                outside_N[np.unique(image.patch_hw[small.window(image.patch_hw.shape)])] = False
        positive = [patch(click) for click in clicks if click.positive]
        if not positive:
            positive = [patch(_middle(box)) for box in boxes]
        negative = {patch(click) for click in clicks if not click.positive} - set(positive)
        found = cls(
            np.array(sorted(set(positive)), np.intp),
            np.array(sorted(negative), np.intp),
            outside_N,
        )
        found.clicked = [click.pixel(image.size) for click in clicks if click.positive]
        found.clicked = found.clicked or [_middle(box).pixel(image.size) for box in boxes]
        found.refused = [click.pixel(image.size) for click in clicks if not click.positive]
        found.inside = [box.window(image.size) for box in boxes]
        return found


def _middle(box: Box) -> Click:
    return Click((box.top + box.bottom) / 2, (box.left + box.right) / 2)


def prior_of(
    image: PreparedImage, marked: Marked, class_index: int, costs_P: Floats, walk: Walk
) -> Floats:
    """prior_N in (0, 1): what each patch looks like by itself, beside the marks."""
    near = geodesic(image, costs_P, marked.positive_S)
    far = geodesic(image, costs_P, marked.negative_S)
    like = likeness(image, marked.positive_S, walk.spread)
    unlike = likeness(image, marked.negative_S, walk.spread)
    odds = np.full(len(near), walk.bias, np.float32)
    odds += walk.like_weight * np.log((like + 0.05) / (unlike + 0.05 + 0.25))
    if np.isfinite(far).any():
        odds += walk.distance_weight * np.log((far + 0.3) / (near + 0.3))
    else:
        odds -= walk.distance_weight * np.log((near + 0.3) / (np.median(near) + 0.3))
    if image.probs_NK.shape[1]:
        odds += walk.class_weight * class_odds(image.probs_NK, marked, class_index)
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def class_odds(probs_NK: Floats, marked: Marked, class_index: int) -> Floats:
    """log odds_N of being of the class, once the teacher is told what it took the marks for.

    Where it takes the marked patches for another class it mixes the two up there, so that patches
    of that other class count as much as they share with the marks.
    """
    told_K = probs_NK[marked.positive_S].mean(0)
    own = told_K[class_index]
    alike_N = np.sqrt(probs_NK * told_K).sum(1)  # Bhattacharyya
    chance_N = own * probs_NK[:, class_index] + (1 - own) * alike_N**2
    chance_N = np.maximum(probs_NK[:, class_index], chance_N)
    return np.log((chance_N + 0.02) / (1 - chance_N + 0.02)).astype(np.float32)


def _pixels(
    image: PreparedImage, marked: Marked, x_N: Floats, class_index: int, snap: Snap
) -> Bools:
    """The mask at the image's size: patches, then the border pixel by pixel in a window."""
    height, width = image.size
    rows = _nearest(height, image.patch_hw.shape[0])
    columns = _nearest(width, image.patch_hw.shape[1])
    taken_N = x_N > 0.5
    one, other = image.pair_P2.T
    apart = taken_N[one] != taken_N[other]
    border_N = np.zeros(len(taken_N), bool)
    border_N[one[apart]] = border_N[other[apart]] = True
    wanted_hw = (taken_N | border_N)[image.patch_hw]
    window = _window(wanted_hw, image.size)
    patch_HW = image.patch_hw[np.ix_(rows[window[0]], columns[window[1]])]
    found_HW = snapped(smoothed(image.image_HWC[window]), x_N[patch_HW], border_N[patch_HW], snap)
    mask_HW = np.zeros(image.size, bool)
    mask_HW[window] = found_HW > 0.5
    if marked.inside:
        allowed = np.zeros(image.size, bool)
        for inside in marked.inside:
            allowed[inside] = True
        mask_HW &= allowed
    for place in marked.refused:
        mask_HW[place] = False
    for place in marked.clicked:
        mask_HW[place] = True
    return connected(mask_HW, marked.clicked)


def _window(wanted_hw: Bools, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of an image of `size` that hold everything wanted."""
    window = []
    for axis, length in enumerate(size):
        at = np.flatnonzero(wanted_hw.any(1 - axis))
        scale = length / wanted_hw.shape[axis]
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, 0)
        window.append(
            slice(max(0, int(first * scale) - 1), min(length, int((last + 1) * scale) + 2))
        )
    return window[0], window[1]


def _nearest(many: int, few: int) -> NDArray[np.intp]:
    return ((np.arange(many) + 0.5) * few / many).astype(np.intp)


class _Cache:
    """Prepared images, the last used ones of so many bytes together."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[str, int, int], PreparedImage] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, int, int]) -> PreparedImage | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, int, int], value: PreparedImage) -> None:
        with self._lock:
            self._kept[key] = value
            while (
                len(self._kept) > 1 and sum(v.num_bytes for v in self._kept.values()) > self._most
            ):
                self._kept.popitem(last=False)
