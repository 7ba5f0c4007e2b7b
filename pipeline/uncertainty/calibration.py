"""Whether a model is right as often as it says, and whether it is unsure where it errs.

On labelled pixels that it never learnt from. K classes, H height, W width, M drawn pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.row_bands import row_bands
from pipeline.types import IGNORE
from pipeline.uncertainty.scores import Floats

Bools = NDArray[np.bool_]

MAX_PIXELS = 400_000  # drawn of all images; 30 MB with 19 classes, standard errors under 0.1 %
NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)  # where the search for one ends
TOLERANCE = 1e-7  # of its logarithm


class PixelSample:
    """Labelled pixels drawn from images one at a time, so that memory does not grow with them.

    Every image gives as many, at most MAX_PIXELS in all; equal seeds draw equal pixels.
    """

    def __init__(self, num_images: int, seed: int = 0) -> None:
        """Of `num_images` to come; ValueError unless there is one."""
        if num_images < 1:
            raise ValueError(f"{num_images} images: expected at least 1 to draw pixels from")
        self._rng = np.random.default_rng(seed)
        self._quota = max(1, MAX_PIXELS // num_images)
        self._logits: list[Floats] = []
        self._truth: list[NDArray[np.uint8]] = []

    def draw(self, mask_HW: NDArray[np.uint8]) -> NDArray[np.intp]:
        """place_M in reading order: from the pixels of the next image that have a label."""
        labelled = np.count_nonzero(mask_HW != IGNORE)
        number_M: NDArray[np.intp] = np.arange(labelled)
        if labelled > self._quota:
            number_M = self._rng.choice(labelled, self._quota, replace=False)
        order_M = np.argsort(number_M)
        sorted_M, place_M, before = number_M[order_M], np.empty_like(number_M), 0
        # Some rows at a time: the places of all labelled pixels would take 8 bytes each.
        for rows in row_bands(*mask_HW.shape):
            there = np.flatnonzero(mask_HW[rows] != IGNORE) + rows.start * mask_HW.shape[1]
            first, end = np.searchsorted(sorted_M, (before, before + len(there)))
            place_M[order_M[first:end]] = there[sorted_M[first:end] - before]
            before += len(there)
        return place_M

    def add(self, logits_MK: Floats, truth_M: NDArray[np.uint8]) -> None:
        """What the model says at the places that were drawn, and what is true there."""
        self._logits.append(logits_MK)
        self._truth.append(truth_M)

    def __len__(self) -> int:
        """M, drawn so far."""
        return sum(len(truth_M) for truth_M in self._truth)

    @property
    def logits_MK(self) -> Floats:
        """What the model said."""
        return np.concatenate(self._logits)

    @property
    def truth_M(self) -> NDArray[np.uint8]:
        """Class indices."""
        return np.concatenate(self._truth)


def best_temperature(logits_MK: Floats, truth_M: NDArray[np.uint8]) -> float:
    """The temperature of the least negative log-likelihood (Guo et al. 2017), in [0.05, 20].

    The softmax of the logits divided by it is what the model should have said: above 1 it was too
    sure. The likelihood is convex in 1 / temperature, so there is one minimum.
    """
    shifted_MK = logits_MK - logits_MK.max(axis=1, keepdims=True)  # no exponent overflows
    true = float(shifted_MK[np.arange(len(truth_M)), truth_M].mean(dtype=np.float64))
    # The minimum is flat: float32's rounding would move it by 5e-4.
    scaled_MK = np.empty(shifted_MK.shape, dtype=np.float64)

    def negative_log_likelihood(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        np.multiply(shifted_MK, inverse, out=scaled_MK, dtype=np.float64)
        # In place: scipy.special.logsumexp takes four times as long (9.5 s for 2.4 of a search
        # over 400,000 pixels of 11 classes).
        sums_M = np.exp(scaled_MK, out=scaled_MK).sum(axis=1)
        return float(np.log(sums_M).mean()) - inverse * true

    bounds = [math.log(end) for end in TEMPERATURES]
    found = minimize_scalar(
        negative_log_likelihood, bounds=bounds, method="bounded", options={"xatol": TOLERANCE}
    )
    return math.exp(found.x)


@dataclass(frozen=True)
class Bin:
    """Pixels of about the same confidence."""

    confidence: float
    """What the model said, on average."""
    accuracy: float
    """How often it was right."""
    share: float
    """Of all pixels."""


def reliability(confidence_M: Floats, right_M: Bools) -> list[Bin]:
    """15 bins of equally many pixels, least sure first.

    Equal confidences share a bin, so that the order of pixels is nothing; where many are equal
    there are fewer bins.
    """
    edges = np.quantile(confidence_M, np.arange(1, NUM_BINS) / NUM_BINS)
    bin_M = np.searchsorted(edges, confidence_M, side="right")
    sizes, said, right = (
        np.bincount(bin_M, weights=weights, minlength=NUM_BINS)
        for weights in (None, confidence_M, right_M)
    )
    return [
        Bin(
            float(said[at] / sizes[at]), float(right[at] / sizes[at]), float(sizes[at] / len(bin_M))
        )
        for at in np.flatnonzero(sizes)
    ]


def calibration_error(bins: list[Bin]) -> float:
    """ECE: mean gap between confidence and accuracy, weighed by the pixels; in [0, 1]."""
    return sum(each.share * abs(each.confidence - each.accuracy) for each in bins)


def class_calibration_errors(probs_MK: Floats, truth_M: NDArray[np.uint8]) -> list[float]:
    """ECE of each class's probability as a forecast of that class (Kumar et al. 2019)."""
    return [
        calibration_error(reliability(probs_M, truth_M == index))
        for index, probs_M in enumerate(probs_MK.T)
    ]


@dataclass(frozen=True)
class ErrorDetection:
    """How well an uncertainty tells wrong pixels from right ones."""

    auroc: float
    """A wrong pixel is more uncertain than a right one in this share of pairs; 0.5 = chance."""
    aupr: float
    """Average precision of finding errors; the share of wrong pixels = chance."""
    ause: float
    """Area between the error rates left when the most uncertain pixels are taken away one by one
    and when the wrong ones are; 0 = as good as knowing the errors."""


def error_detection(uncertainty_M: Floats, wrong_M: Bools) -> ErrorDetection | None:
    """None where no pixel is wrong, or every one."""
    if wrong_M.all() or not wrong_M.any():
        return None
    left_M, best_M = sparsification(uncertainty_M, wrong_M), sparsification(wrong_M, wrong_M)
    return ErrorDetection(
        auroc=float(roc_auc_score(wrong_M, uncertainty_M)),
        aupr=float(average_precision_score(wrong_M, uncertainty_M)),
        ause=float((left_M - best_M).mean()),
    )


def sparsification(uncertainty_M: NDArray[np.generic], wrong_M: Bools) -> NDArray[np.float64]:
    """Error rate of what is left without the 0, 1, ... M - 1 most uncertain pixels.

    Of equally uncertain pixels each is as likely to go first.
    """
    _, group_M, sizes = np.unique(
        -uncertainty_M.astype(np.float64), return_inverse=True, return_counts=True
    )
    errors = np.bincount(group_M, weights=wrong_M)
    gone = np.concatenate([[0], sizes.cumsum()])
    found = np.concatenate([[0.0], errors.cumsum()])
    taken_M = np.arange(len(wrong_M))
    left_M: NDArray[np.float64] = errors.sum() - np.interp(taken_M, gone, found)
    return left_M / (len(wrong_M) - taken_M)
