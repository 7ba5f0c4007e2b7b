"""Predictions at a sample of pixels: class, entropy, confidence, and confusion with the masks.

N images, M pixels drawn of each, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.metrics.information import js_divergence_bits
from pipeline.shift.time_blocks import Runs
from pipeline.shift.two_sample import Floats
from pipeline.types import IGNORE
from pipeline.uncertainty.scores import entropy, least_confidence

MAX_PIXELS = 2000  # of an image; its figures then hold to about a point
MAX_VALUES = 40_000_000  # of all images and classes: 80 MB
NUM_BINS = 20  # of the histograms
SEED = 0
NEVER = -1e4  # a logit of no chance, which 16 bits hold


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions on one group of images, in order of names."""

    logits_NMK: NDArray[np.float16]
    other_NM: NDArray[np.uint8] | None
    """Classes predicted by a second model; None without one."""
    truth_NM: NDArray[np.uint8] | None
    """True classes, 255 = ignore; None without masks."""
    run_N: Runs

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return self.logits_NMK.shape[-1]

    @property
    def class_NM(self) -> NDArray[np.uint8]:
        """The predicted class of each pixel."""
        return self.logits_NMK.argmax(axis=-1).astype(np.uint8)

    def scores(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(entropy_NM over log K, confidence_NM), both in [0, 1]."""
        found = []
        for logits_MK in self.logits_NMK:
            probs_KM = softmax(logits_MK.astype(np.float32), axis=1).T
            found.append((entropy(probs_KM), 1 - least_confidence(probs_KM)))
        return np.stack([each for each, _ in found]), np.stack([each for _, each in found])


def pixels_per_image(num_images: int, num_classes: int) -> int:
    """M, pixels drawn per image: fewer where images and classes are many."""
    return max(1, min(MAX_PIXELS, MAX_VALUES // max(1, num_images * num_classes)))


def drawn(num_pixels: int, wanted: int) -> NDArray[np.int64]:
    """Indices of the pixels drawn of an image, the same for all images of its size."""
    if num_pixels <= wanted:
        return np.arange(num_pixels)
    return np.sort(np.random.default_rng(SEED).choice(num_pixels, wanted, replace=False))


def with_classes(predictions: Predictions, num_classes: int) -> Predictions:
    """Predictions over `num_classes` classes: probability 0 for those that the model never learnt.

    A class may have been appended after the model was trained.
    """
    images, pixels, known = predictions.logits_NMK.shape
    if known >= num_classes:
        return predictions
    never_NMK = np.full((images, pixels, num_classes - known), NEVER, dtype=np.float16)
    return replace(
        predictions, logits_NMK=np.concatenate([predictions.logits_NMK, never_NMK], axis=-1)
    )


def compared(one: Predictions, other: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """The report's values from predictions on both groups; `a` is `one`, `b` is `other`.

    `entropy`, `confidence` and `disagreement` (None without a second model) as means in [0, 1];
    `class_prior` by class; its Jensen-Shannon divergence in bits; `histograms` in 20 bins.
    """
    said = [each.scores() for each in (one, other)]
    priors = [prior(each) for each in (one, other)]
    named = [
        {name: round(float(share), 6) for name, share in zip(classes, prior_K, strict=True)}
        for prior_K in priors
    ]
    return {
        "entropy": _both(*(float(entropy_NM.mean()) for entropy_NM, _ in said)),
        "confidence": _both(*(float(confidence_NM.mean()) for _, confidence_NM in said)),
        "disagreement": _both(*(disagreement(each) for each in (one, other))),
        "class_prior": dict(zip("ab", named, strict=True)),
        "class_prior_js": round(float(js_divergence_bits(*priors)), 6),
        "histograms": {
            "entropy": {side: _histogram(said[at][0]) for at, side in enumerate("ab")},
            "confidence": {side: _histogram(said[at][1]) for at, side in enumerate("ab")},
        },
    }


def prior(predictions: Predictions) -> Floats:
    """prior_K: the share of the pixels predicted as each class."""
    counts_K = np.bincount(predictions.class_NM.reshape(-1), minlength=predictions.num_classes)
    return counts_K / counts_K.sum()


def disagreement(predictions: Predictions) -> float | None:
    """Share of pixels for which two models predict different classes; None without a second."""
    if predictions.other_NM is None:
        return None
    return float((predictions.class_NM != predictions.other_NM).mean())


def confusions(predictions: Predictions) -> Floats:
    """counts_NKK of every image that has a truth: row = truth, column = prediction."""
    assert predictions.truth_NM is not None
    num = predictions.num_classes
    found = np.zeros((len(predictions.run_N), num, num))
    for row, (seen_M, truth_M) in enumerate(
        zip(predictions.class_NM, predictions.truth_NM, strict=True)
    ):
        known = truth_M != IGNORE
        cells = truth_M[known].astype(np.int64) * num + seen_M[known]
        found[row] = np.bincount(cells, minlength=num * num).reshape(num, num)
    return found


def _both(one: float | None, other: float | None) -> dict[str, float | None]:
    pair = zip("ab", (one, other), strict=True)
    return {side: None if value is None else round(value, 6) for side, value in pair}


def _histogram(values_NM: NDArray[np.float32]) -> list[float]:
    """Histogram over [0, 1]: the shares of 20 bins."""
    counts, _ = np.histogram(values_NM, bins=NUM_BINS, range=(0, 1))
    return [round(float(count) / values_NM.size, 6) for count in counts]
