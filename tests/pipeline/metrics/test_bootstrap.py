"""Resamples by counts against scipy's bootstrap, and blocks that stay together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from pipeline.metrics.bootstrap import percentile_interval, resampled, resampled_blocks

VALUES = np.random.default_rng(0).normal(size=40)


def test_the_interval_of_a_mean_is_scipys() -> None:
    counts_RN = resampled(len(VALUES), 4000, np.random.default_rng(1))
    found = percentile_interval(counts_RN @ VALUES / len(VALUES))
    wanted = bootstrap(
        (VALUES,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found == pytest.approx((wanted.low, wanted.high), abs=0.03)


def test_as_many_are_drawn_as_there_are_and_a_seed_draws_alike() -> None:
    one, again, other = (resampled(7, 50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one.sum(axis=1) == 7).all()
    assert one.shape == (50, 7)
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_images_of_a_block_are_drawn_together() -> None:
    block_N = np.array([0, 0, 0, 1, 2, 2])
    counts_RN = resampled_blocks(block_N, 200, np.random.default_rng(0))
    blocks_RB = resampled(3, 200, np.random.default_rng(0))
    np.testing.assert_array_equal(counts_RN, blocks_RB[:, block_N])
    assert len(np.unique(counts_RN.sum(axis=1))) > 1, "blocks of unequal size"


def test_a_resample_without_a_figure_does_not_count() -> None:
    assert percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert percentile_interval([*np.arange(101.0), np.nan]) == pytest.approx((2.5, 97.5))
