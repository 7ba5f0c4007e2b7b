"""How well masks and probabilities agree, pixel by pixel and image by image.

Pixels are those of an image, or cells of it: P of them, K classes, N images.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.types import IGNORE

SOFTMIN_TEMPERATURE = 0.1  # cleanlab's: low ones are close to the minimum
Floats = NDArray[np.floating]
Classes = NDArray[np.uint8]


def self_confidence(probs_PK: Floats, classes_P: Classes) -> NDArray[np.float64]:
    """p(class that was painted) in [0, 1] at every pixel; 1 where nothing was painted."""
    known_P = classes_P != IGNORE
    given_P = np.ones(len(classes_P))
    given_P[known_P] = probs_PK[known_P, classes_P[known_P]]
    return given_P


def softmin_score(probs_PK: Floats, classes_P: Classes) -> float:
    """Label quality of an image in [0, 1], the lower the worse; 1 where nothing was painted.

    Mean of the pixels' self-confidence s with weights softmax((1 - s) / 0.1): the soft minimum of
    Lad and Mueller 2023 (Estimating label quality and errors in semantic segmentation data via any
    model, eq. 3), which cleanlab.segmentation ranks images by.
    """
    given_P = self_confidence(probs_PK, classes_P)[classes_P != IGNORE]
    if not len(given_P):
        return 1.0
    weights_P = np.exp((given_P.min() - given_P) / SOFTMIN_TEMPERATURE)
    return float((given_P * weights_P).sum() / weights_P.sum())


class ClassThresholds:
    """From which probability on a model is sure of a class.

    Its mean probability over the pixels painted so, as in confident learning (Northcutt et al.
    2021, eq. 2): a model is less sure of rare classes, and right nevertheless.
    """

    def __init__(self, num_classes: int) -> None:
        self._sums_K = np.zeros(num_classes)
        self._counts_K = np.zeros(num_classes)

    def add(self, probs_PK: Floats, classes_P: Classes) -> None:
        """Count the pixels of one more image."""
        known_P = classes_P != IGNORE
        size = len(self._counts_K)
        given_P = self_confidence(probs_PK, classes_P)[known_P]
        self._counts_K += np.bincount(classes_P[known_P], minlength=size)
        self._sums_K += np.bincount(classes_P[known_P], weights=given_P, minlength=size)

    @property
    def thresholds_K(self) -> NDArray[np.float64]:
        """In [0, 1]; 1 for a class that nobody painted."""
        return np.where(self._counts_K > 0, self._sums_K / np.maximum(self._counts_K, 1), 1.0)


def thresholds_of(
    images: Iterable[tuple[Floats, Classes]], num_classes: int
) -> NDArray[np.float64]:
    """As `ClassThresholds`, of all (probs_PK, classes_P)."""
    found = ClassThresholds(num_classes)
    for probs_PK, classes_P in images:
        found.add(probs_PK, classes_P)
    return found.thresholds_K
