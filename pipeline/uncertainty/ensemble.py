"""Several opinions on the same pixels, one at a time: dropout, flips, snapshots, a student.

Two sums are kept, so that memory does not grow with the number of members. N images, K classes,
H height, W width, M members, P pixels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.information import (
    entropy_bits,
    js_divergence_bits,
    largest_entropy_bits,
)
from pipeline.runtime.torch_settings import usable_processors
from pipeline.uncertainty.scores import Floats, check_probs

BLOCK = 1 << 20  # values at once: fits a third-level cache, and few calls wait for the interpreter


class Members:
    """The mean of members, and how far they disagree."""

    def __init__(self) -> None:
        """Of no member yet."""
        self.count = 0
        self._sum_KHW: Floats
        self._bits_HW: Floats

    def add(self, probs_KHW: Floats) -> None:
        """One more; ValueError unless these are probabilities of the same shape as before."""
        check_probs(probs_KHW)
        if self.count == 0:
            self._sum_KHW = probs_KHW.astype(np.float32)
            self._bits_HW = entropy_bits(probs_KHW)
        elif probs_KHW.shape != self._sum_KHW.shape:
            raise ValueError(
                f"a member of shape {probs_KHW.shape}: expected {self._sum_KHW.shape}, as before"
            )
        else:
            # Not in place: what is alone is its own mean, and somebody may have asked for it.
            self._sum_KHW = self._sum_KHW + probs_KHW
            self._bits_HW += entropy_bits(probs_KHW)
        self.count += 1

    @property
    def mean(self) -> Floats:
        """probs_KHW, the members' mean; ValueError without members, here and below."""
        if self.count == 0:
            raise ValueError("no member was added; expected at least one")
        return self._sum_KHW if self.count == 1 else self._sum_KHW / np.float32(self.count)

    @property
    def entropy(self) -> Floats:
        """Of the mean, over log K, in [0, 1]."""
        mean_KHW = self.mean
        bits_HW = entropy_bits(mean_KHW) if self.count > 1 else self._bits_HW
        return (bits_HW / largest_entropy_bits(len(mean_KHW))).clip(0, 1)

    @property
    def bald(self) -> Floats:
        """Mutual information of class and member: entropy of the mean less the mean entropy.

        Over log K, in [0, 1]; 0 with one member (Houlsby et al. 2011; Gal et al. 2017).
        """
        spread_HW = entropy_bits(self.mean) - self._bits_HW / np.float32(self.count)
        return (spread_HW / largest_entropy_bits(len(self._sum_KHW))).clip(0, 1)


def disagreement(one_KHW: Floats, other_KHW: Floats) -> Floats:
    """Jensen-Shannon divergence in bits, in [0, 1]: 1 where two are sure of different classes."""
    check_probs(one_KHW)
    check_probs(other_KHW)
    return js_divergence_bits(one_KHW, other_KHW)


def bald_of(probs_NKHWM: Floats) -> Floats:
    """bald_NHW of an array that holds all members, the last axis, as other tools want them.

    The same numbers as `Members.bald`, for who has such an array already: on blocks of pixels, on
    all processors, with no copy of the array.
    """
    num, num_classes, height, width, num_members = probs_NKHWM.shape
    probs_NKPM = probs_NKHWM.reshape(num, num_classes, height * width, num_members)
    bald_NP = np.empty((num, height * width), dtype=np.float32)
    pixels = max(1, BLOCK // (num_classes * num_members))

    def fill(image: int) -> None:
        for first in range(0, height * width, pixels):
            block = slice(first, first + pixels)
            bald_NP[image, block] = _bald_of_block(probs_NKPM[image, :, block])

    with ThreadPoolExecutor(usable_processors()) as threads:
        list(threads.map(fill, range(num)))
    return bald_NP.reshape(num, height, width)


def _bald_of_block(probs_KPM: Floats) -> NDArray[np.float32]:
    check_probs(probs_KPM)
    num_classes, _, num_members = probs_KPM.shape
    # A product with the weights: numpy's mean over a short last axis takes five times as long.
    weights_M = np.full(num_members, 1 / num_members, dtype=np.float32)
    spread_P = entropy_bits(probs_KPM @ weights_M) - entropy_bits(probs_KPM) @ weights_M
    return (spread_P / largest_entropy_bits(num_classes)).clip(0, 1)
