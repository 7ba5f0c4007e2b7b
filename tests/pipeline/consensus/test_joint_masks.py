"""Consensus beside a second, plain writing of STAPLE, pixel by pixel and person by person."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.consensus.joint_masks import FIRST_ACCURACY, majority, staple
from pipeline.types import IGNORE

K = 3


def people(seed: int, accuracies: tuple[float, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
    """A truth, and masks that are right with these probabilities."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, K, (4, 5)), np.ones((6, 6), int)).astype(np.uint8)
    masks = []
    for accuracy in accuracies:
        other = (truth + rng.integers(1, K, truth.shape)) % K
        masks.append(np.where(rng.random(truth.shape) < accuracy, truth, other).astype(np.uint8))
    return truth, masks


def plain_staple(masks: list[np.ndarray], steps: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Warfield's formulas in loops: truth [pixel, class], performance [person, given, true]."""
    flat = [mask.ravel() for mask in masks]
    num_pixels = len(flat[0])
    labels = np.concatenate([m[m != IGNORE] for m in flat])
    prior = [float((labels == k).mean()) for k in range(K)]
    theta = np.full((len(masks), K, K), (1 - FIRST_ACCURACY) / (K - 1))
    for j in range(len(masks)):
        for k in range(K):
            theta[j, k, k] = FIRST_ACCURACY
    truth = np.zeros((num_pixels, K))
    for _ in range(steps):
        for i in range(num_pixels):
            weights = list(prior)
            for j, mask in enumerate(flat):
                if mask[i] != IGNORE:
                    weights = [w * theta[j, mask[i], k] for k, w in enumerate(weights)]
            truth[i] = np.array(weights) / sum(weights)
        for j, mask in enumerate(flat):
            seen = mask != IGNORE
            for k in range(K):
                for given in range(K):
                    theta[j, given, k] = truth[mask == given, k].sum() / truth[seen, k].sum()
    return truth, theta


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_staple_as_the_paper_writes_it(seed: int) -> None:
    _, masks = people(seed, (0.95, 0.8, 0.6))
    masks[0][0, :7] = IGNORE
    truth, theta = plain_staple(masks)
    found = staple(masks, K)
    assert np.allclose(found.performance_RKK, theta, atol=1e-4)
    clear = np.sort(truth, axis=1)
    clear = clear[:, -1] - clear[:, -2] > 1e-3
    assert np.array_equal(found.mask_HW.ravel()[clear], truth.argmax(axis=1)[clear])


def test_a_good_annotator_is_believed_against_two_bad_ones() -> None:
    truth, masks = people(3, (0.99, 0.6, 0.6, 0.6))
    found = staple(masks, K)
    voted = majority(masks)
    assert (found.mask_HW == truth).mean() > (voted == truth).mean()
    diagonal = [np.diag(found.performance_RKK[j]).mean() for j in range(4)]
    assert max(range(4), key=diagonal.__getitem__) == 0


def test_majority_is_unknown_where_classes_tie() -> None:
    masks = [np.array([[0, 1, 2, IGNORE]], np.uint8), np.array([[0, 2, 2, IGNORE]], np.uint8)]
    assert majority(masks).tolist() == [[0, IGNORE, 2, IGNORE]]
    third = np.array([[1, 1, IGNORE, 2]], np.uint8)
    assert majority([*masks, third]).tolist() == [[0, 1, 2, 2]]


def test_equal_masks_are_the_consensus() -> None:
    truth, _ = people(4, ())
    assert np.array_equal(majority([truth, truth]), truth)
    assert np.array_equal(staple([truth, truth], K).mask_HW, truth)


def test_sizes_have_to_be_equal() -> None:
    with pytest.raises(ValueError, match="equal size"):
        majority([np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)])
