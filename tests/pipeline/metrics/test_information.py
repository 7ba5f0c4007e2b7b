"""Entropy and Jensen-Shannon divergence against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import entr

from pipeline.metrics.information import (
    entropy_bits,
    entropy_nats,
    js_divergence_bits,
    js_divergence_nats,
    largest_entropy_bits,
)

NUM_CLASSES = 5
SURE = np.eye(NUM_CLASSES)[:2]


def probs_of(seed: int) -> np.ndarray:
    """KxHxW; one pixel is sure, one has never heard of a class."""
    probs_KHW = np.random.default_rng(seed).dirichlet(np.full(NUM_CLASSES, 0.5), (6, 7))
    probs_KHW = np.moveaxis(probs_KHW, 2, 0)
    probs_KHW[:, 0, 0] = SURE[seed % 2]
    probs_KHW[:, 1, 1] = [0.5, 0.5, 0, 0, 0]
    return probs_KHW


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_entropy_is_scipys(kind: type) -> None:
    probs_KHW = probs_of(0).astype(kind)
    expected_HW = entr(probs_KHW).sum(axis=0)
    tolerance = 1e-6 if kind is np.float32 else 1e-12
    np.testing.assert_allclose(entropy_bits(probs_KHW) * np.log(2), expected_HW, atol=tolerance)
    found_HW = entropy_nats(torch.from_numpy(probs_KHW), dim=0).numpy()
    np.testing.assert_allclose(found_HW, expected_HW, atol=tolerance)
    last_HW = entropy_nats(torch.from_numpy(probs_KHW).movedim(0, -1), dim=-1).numpy()
    np.testing.assert_allclose(last_HW, expected_HW, atol=tolerance)


def test_the_largest_entropy_is_that_of_equal_probabilities() -> None:
    even_K = np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    assert largest_entropy_bits(NUM_CLASSES) == pytest.approx(float(entropy_bits(even_K)))


def test_divergence_is_scipys() -> None:
    one_KHW, other_KHW = probs_of(0), probs_of(1)
    expected_HW = jensenshannon(one_KHW, other_KHW, base=2, axis=0) ** 2
    np.testing.assert_allclose(js_divergence_bits(one_KHW, other_KHW), expected_HW, atol=1e-12)
    both = torch.from_numpy(np.stack([one_KHW, other_KHW]))
    nats_HW = js_divergence_nats(both, dim=-3).numpy()
    np.testing.assert_allclose(nats_HW / np.log(2), expected_HW, atol=1e-12)


def test_divergence_reaches_both_ends() -> None:
    assert js_divergence_bits(*SURE) == 1
    even_K = np.array([0.3, 0.7])
    assert js_divergence_bits(even_K, even_K) == 0


def test_divergence_of_several_is_what_each_adds_about_the_class() -> None:
    """Mutual information of class and member, from their joint distribution."""
    probs_MK = np.stack([probs_of(seed)[:, 2, 3] for seed in range(3)])
    joint_MK = probs_MK / 3
    apart_MK = joint_MK.sum(axis=1, keepdims=True) * joint_MK.sum(axis=0)
    expected = (joint_MK * np.log(joint_MK / apart_MK)).sum()
    found = js_divergence_nats(torch.from_numpy(probs_MK), dim=-1)
    assert float(found) == pytest.approx(expected)
