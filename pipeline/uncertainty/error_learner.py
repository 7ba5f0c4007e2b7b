"""Where a model is likely wrong and sure of it, learnt from what people corrected before.

A logistic regression on what is known of a pixel without its label: its features, how sure the
model is, and of which class; against whether a person changed it. What people left alone is not
all right, since they correct the largest areas only; a classifier of changed against the rest still
puts pixels into the right order (Elkan and Noto 2008: positive and unlabelled examples).
M pixels, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]

FEWEST = 20  # pixels of either kind; below, nothing is learnt
MOST_LEFT_ALONE = 20  # to every corrected one: more of them only take time
SUREST = 1e-4  # away from 0 and 1, where the log-odds of a confidence end


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenPixels:
    """What a model says of some pixels, or cells of them, without their labels."""

    features_MD: NDArray[np.float16]
    confidence_M: Floats
    """Probability of the likeliest class, in [0, 1]."""
    predicted_M: NDArray[np.uint8]

    def terms(self, num_classes: int) -> Floats:
        """Features, log-odds of the confidence, and the class, one column each."""
        sure_M = self.confidence_M.clip(SUREST, 1 - SUREST)
        odds_M1 = np.log(sure_M / (1 - sure_M))[:, None]
        features_MD = self.features_MD.astype(np.float64)
        return np.concatenate([features_MD, odds_M1, np.eye(num_classes)[self.predicted_M]], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorLearner:
    """What past corrections say about other pixels."""

    num_classes: int
    regression: LogisticRegression

    def sure_and_wrong(self, pixels: SeenPixels) -> Floats:
        """Probability of a correction times confidence, in [0, 1], pixel by pixel."""
        terms_MT = pixels.terms(self.num_classes)
        wrong_M: Floats = self.regression.predict_proba(terms_MT)[:, 1]
        return wrong_M * pixels.confidence_M


def learn(
    pixels: SeenPixels, changed_M: NDArray[np.bool_], num_classes: int, rng: np.random.Generator
) -> ErrorLearner | None:
    """From pixels that people looked at; None where too few were changed, or too few left."""
    changed, left = np.flatnonzero(changed_M), np.flatnonzero(~changed_M)
    if min(len(changed), len(left)) < FEWEST:
        return None
    if len(left) > MOST_LEFT_ALONE * len(changed):
        left = rng.choice(left, MOST_LEFT_ALONE * len(changed), replace=False)
    rows = np.concatenate([changed, left])
    seen = SeenPixels(
        features_MD=pixels.features_MD[rows],
        confidence_M=pixels.confidence_M[rows],
        predicted_M=pixels.predicted_M[rows],
    )
    # Balanced, so that a probability says which is likelier, not how rare corrections are.
    regression = LogisticRegression(class_weight="balanced", max_iter=200, C=0.1)
    regression.fit(seen.terms(num_classes), changed_M[rows])
    return ErrorLearner(num_classes=num_classes, regression=regression)
