"""Errors that past corrections show are found again among pixels without a label."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.uncertainty.error_learner import FEWEST, SeenPixels, learn


def pixels(num: int, seed: int) -> tuple[SeenPixels, np.ndarray]:
    """Wrong where the first feature is positive and class 1 is said, however sure."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, 3)).astype(np.float16)
    predicted = rng.integers(0, 2, num).astype(np.uint8)
    confidence = rng.uniform(0.5, 0.99, num)
    found = SeenPixels(features_MD=features, confidence_M=confidence, predicted_M=predicted)
    return found, (features[:, 0] > 0.5) & (predicted == 1)


def test_what_was_corrected_before_is_found_and_scored_by_confidence() -> None:
    seen, wrong = pixels(2000, 0)
    # People correct some of what is wrong, and nothing that is right.
    changed = wrong & (np.random.default_rng(2).random(2000) < 0.4)
    learner = learn(seen, changed, 2, np.random.default_rng(0))
    assert learner is not None
    new, also_wrong = pixels(2000, 1)
    scores = learner.sure_and_wrong(new)
    assert ((scores >= 0) & (scores <= 1)).all()
    pairs = scores[also_wrong][:, None] > scores[~also_wrong][None]
    assert pairs.mean() > 0.95  # the area under the ROC curve
    # Against scikit-learn's own formula, written out.
    terms = np.concatenate(
        [
            new.features_MD.astype(float),
            np.log(new.confidence_M / (1 - new.confidence_M))[:, None],
            np.eye(2)[new.predicted_M],
        ],
        axis=1,
    )
    odds = terms @ learner.regression.coef_[0] + learner.regression.intercept_[0]
    np.testing.assert_allclose(scores, new.confidence_M / (1 + np.exp(-odds)), atol=1e-9)


@pytest.mark.parametrize("count", [0, FEWEST - 1])
def test_of_too_few_corrections_nothing_is_learnt(count: int) -> None:
    seen, _ = pixels(200, 0)
    changed = np.arange(200) < count
    assert learn(seen, changed, 2, np.random.default_rng(0)) is None
    assert learn(seen, ~changed, 2, np.random.default_rng(0)) is None
