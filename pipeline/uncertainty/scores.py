"""Uncertainty of every pixel from its probabilities, in [0, 1].

Nothing here makes probabilities sum up to 1 again: what does not is refused, or used as it is where
the rest is rounding. Several buffers of the array's size are made on the way: give strips of a
large image. K classes, H height, W width; `...` = any shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.information import entropy_bits, largest_entropy_bits

Floats = NDArray[np.float32]

SUM_TOLERANCE = 1e-2  # float32's softmax is off by 1e-6, half precision's by 1e-3


def entropy(probs_KHW: Floats) -> Floats:
    """Shannon entropy over log K; ValueError unless these are probabilities."""
    check_probs(probs_KHW)
    return (entropy_bits(probs_KHW) / largest_entropy_bits(len(probs_KHW))).clip(0, 1)


def margin(probs_KHW: Floats) -> Floats:
    """1 - (P1 - P2), P1 and P2 the largest two; ValueError unless these are probabilities."""
    check_probs(probs_KHW)
    return of_the_largest(probs_KHW)["margin"]


def least_confidence(probs_KHW: Floats) -> Floats:
    """1 - P1, at most 1 - 1/K; ValueError unless these are probabilities.

    Not rescaled to reach 1: of a calibrated model it is the probability of an error.
    """
    check_probs(probs_KHW)
    return of_the_largest(probs_KHW)["least_confidence"]


def of_the_largest(probs_KHW: Floats) -> dict[str, Floats]:
    """`margin` and `least_confidence` in one go, of probabilities that were checked before."""
    first_HW, second_HW = np.zeros_like(probs_KHW[0]), np.zeros_like(probs_KHW[0])
    smaller_HW = np.empty_like(first_HW)
    for probs_HW in probs_KHW:
        np.minimum(first_HW, probs_HW, out=smaller_HW)
        np.maximum(second_HW, smaller_HW, out=second_HW)
        np.maximum(first_HW, probs_HW, out=first_HW)
    return {
        "margin": (1 - (first_HW - second_HW)).clip(0, 1),
        "least_confidence": (1 - first_HW).clip(0, 1),
    }


def check_probs(probs_K: NDArray[np.floating]) -> None:
    """ValueError unless none is negative and the sums over the first axis are 1, within 1e-2.

    NaN is refused too.
    """
    sums = probs_K.sum(axis=0)
    low, high = float(sums.min()), float(sums.max())
    if not (abs(low - 1) <= SUM_TOLERANCE and abs(high - 1) <= SUM_TOLERANCE):  # NaN fails too
        raise ValueError(
            f"probabilities of {len(probs_K)} classes sum up to between {low:.4g} and {high:.4g}: "
            f"expected 1 within {SUM_TOLERANCE:g}; give the softmax over the first axis"
        )
    if float(probs_K.min()) < 0:
        raise ValueError(
            f"the smallest probability is {float(probs_K.min()):.4g}: expected 0 to 1; "
            "give the softmax over the first axis"
        )
