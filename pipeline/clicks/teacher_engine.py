"""Click to mask by the teacher: what it knows of an image spreads from the marks.

First over patches of the image, which takes milliseconds; then, in large images, the border alone
pixel by pixel. It always works: before there is a teacher colours and the frozen encoder's features
hold the mask together, and a better teacher draws it better. H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import layout
from pipeline.clicks.marks import Mark, check_class, check_marks
from pipeline.clicks.patches.looks import look_of
from pipeline.clicks.patches.marked_patches import MarkedPatches, marked_patches
from pipeline.clicks.patches.patch_evidence import WITH_TEACHER, WITHOUT_TEACHER, evidence
from pipeline.clicks.patches.prepared_image import PreparedImage, load, prepared, save
from pipeline.clicks.patches.propagation import Walk, random_walk, walk_costs, walk_weights
from pipeline.clicks.patches.snapping import Snap, connected, pixel_mask
from pipeline.clicks.recent_images import RecentImages
from pipeline.config.params import Params
from pipeline.data.formats.images import load_image
from pipeline.errors import DataError
from pipeline.files import sha256_file

CACHE_MIB = 256
Bools = NDArray[np.bool_]


class TeacherEngine:
    """Masks of one workspace's images, by the teacher that it has when this object is made.

    Safe to call from several threads. What it keeps lies under .ssl-loop/clicks, by teacher.
    """

    name = "teacher"

    def __init__(
        self, root: Path, params: Params, *, cache_mib: int = CACHE_MIB, walk: Walk | None = None
    ) -> None:
        """`root` of the workspace; `cache_mib` of prepared images are kept in memory.

        ModelError for a teacher that cannot be read.
        """
        self._classes = params.classes
        self._walk = walk or Walk()
        self._look = look_of(root, params)
        self._folder = root / layout.CLICKS / self._look.key
        self._images = RecentImages(cache_mib * 2**20, self._read_or_made)

    def prepare(self, image: Path) -> None:
        """As of every engine."""
        self._images.get(image)

    def mask(self, image: Path, marks: Sequence[Mark], class_index: int) -> Bools:
        """As of every engine; connected areas with a positive click each, within the boxes."""
        check_class(class_index, self._classes)
        found = self._images.get(image)
        check_marks(marks, found.size)
        marked = marked_patches(found, marks)
        x_N = self._chances(found, marked, class_index)
        return _obeying(pixel_mask(found, x_N, Snap()), marked)

    def _chances(
        self, image: PreparedImage, marked: MarkedPatches, class_index: int
    ) -> NDArray[np.float32]:
        """x_N: of each patch to be of the thing."""
        costs_P = walk_costs(image, self._walk)
        weights = WITH_TEACHER if image.probs_NK.shape[1] else WITHOUT_TEACHER
        prior_N = evidence(image, marked, class_index, costs_P, weights)
        weights_P = walk_weights(image, costs_P, self._walk)
        strength = self._walk.strength / max(1, marked.count) ** 2
        return random_walk(image, weights_P, prior_N, strength, marked.fixed_N)

    def _read_or_made(self, image: Path) -> PreparedImage:
        file = self._folder / f"{sha256_file(image)}.npz"
        pixels_HWC = load_image(image)
        if file.exists():
            try:
                return load(file, pixels_HWC)
            except DataError:
                pass  # damaged: made again
        found = prepared(pixels_HWC, self._look(image))
        save(found, file)
        return found


def _obeying(mask_HW: Bools, marked: MarkedPatches) -> Bools:
    """The mask as the marks say it at least, without areas that nobody clicked."""
    if marked.boxes:
        allowed_HW = np.zeros_like(mask_HW)
        for window in marked.boxes:
            allowed_HW[window] = True
        mask_HW = mask_HW & allowed_HW
    for place in marked.refused:
        mask_HW[place] = False
    for place in marked.clicked:
        mask_HW[place] = True
    return connected(mask_HW, marked.clicked)
