"""Parts of a mask that a model is sure are not of the class that was painted.

h and w an image's size in cells, K classes, M cells of a part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.types import IGNORE

SURE = 0.1  # the model is sure that a class is wrong to which it gives less
FEWEST_CELLS = 2  # of a part: single cells are where two classes meet
LEAST_PROBABILITY = 1e-4  # a model is not surer than that of anything


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspect:
    """One connected part of one mask."""

    painted: int
    """Class index in the mask."""
    likeliest: int
    """Class index that the model gives most to in this part."""
    sure: bool
    """Whether it is sure of that class too (confident learning), not only against the painted."""
    cells_hw: NDArray[np.bool_]
    """Where it lies."""
    quality: float
    """Mean probability of the painted class in it, in [0, 1]: the component score."""
    score: float
    """The larger, the likelier an error that matters; see `_score`."""


def suspects(
    probs_hwK: NDArray[np.float32], mask_hw: NDArray[np.uint8], thresholds_K: NDArray[np.float64]
) -> list[Suspect]:
    """Parts of an image that the model is sure are painted wrongly, worst first.

    A part is cells of one painted class that share sides, and to which the model gives less than
    SURE of it. It is sure of another class where that reaches its threshold of `thresholds_K`.
    """
    likeliest_hw = probs_hwK.argmax(axis=-1)
    known_hw = mask_hw != IGNORE
    index_hw = np.where(known_hw, mask_hw, 0).astype(np.intp)
    given_hw = np.take_along_axis(probs_hwK, index_hw[..., None], axis=-1)[..., 0]
    wrong_hw = known_hw & (given_hw < SURE) & (mask_hw != likeliest_hw)
    painted, seen = _Components(mask_hw), _Components(likeliest_hw)
    found = []
    for index in np.unique(mask_hw[wrong_hw]):
        for cells_hw in _parts(wrong_hw & (mask_hw == index)):
            mean_K = probs_hwK[cells_hw].mean(axis=0)
            likeliest = int(mean_K.argmax())
            given_M = given_hw[cells_hw]
            whole = max(painted.share(cells_hw) / 2, seen.share(cells_hw))
            found.append(
                Suspect(
                    painted=int(index),
                    likeliest=likeliest,
                    sure=bool(mean_K[likeliest] >= thresholds_K[likeliest]),
                    cells_hw=cells_hw,
                    quality=float(given_M.mean()),
                    score=_score(given_M, whole),
                )
            )
    return sorted(found, key=lambda one: -one.score)


def _score(given_M: NDArray[np.float32], whole: float) -> float:
    """Mean surprise -log p(painted class), times the logarithm of the part's size in cells, times
    the square root of its share of something whole.

    What people mistake is a thing: the part is most of a component of the mask, or all of one that
    the model sees; the second counts double, since masks have many small components along edges.
    Borders that are painted a little beside are a small share of both, however long they are.
    """
    surprise = float(-np.log(np.maximum(given_M, LEAST_PROBABILITY)).mean())
    return surprise * math.log(len(given_M)) * whole**0.5


class _Components:
    """Connected areas of one class each."""

    def __init__(self, classes_hw: NDArray[np.integer]) -> None:
        self._labels_hw = np.zeros(classes_hw.shape, dtype=np.int64)
        count = 0
        for index in np.unique(classes_hw):
            labels_hw, num = ndimage.label(classes_hw == index)
            self._labels_hw[labels_hw > 0] = labels_hw[labels_hw > 0] + count
            count += num
        self._sizes = np.bincount(self._labels_hw.ravel())

    def share(self, cells_hw: NDArray[np.bool_]) -> float:
        """How much of the component that most of a part lies in is in the part, in (0, 1]."""
        counts = np.bincount(self._labels_hw[cells_hw])
        most = int(counts.argmax())
        return float(counts[most] / self._sizes[most])


def _parts(where_hw: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    labels_hw, _ = ndimage.label(where_hw)
    for index, size in enumerate(np.bincount(labels_hw.ravel())[1:], start=1):
        if size >= FEWEST_CELLS:
            yield labels_hw == index
