"""Rare classes: how often they are, what they weigh, how often they are drawn."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from pipeline import layout
from pipeline.data.dataset import ImageStore
from pipeline.records.manifest import read_manifest
from pipeline.training.class_balance import (
    TEMPERATURE,
    RareClasses,
    class_shares,
    count_classes,
    sqrt_inverse_weights,
)
from pipeline.types import IGNORE

# Class 3 is in no image, class 2 in one alone.
COUNTS_NK = torch.tensor([[90, 10, 0, 0], [98, 0, 2, 0], [60, 40, 0, 0]])


def test_counts_are_those_of_the_masks(make_workspace, tiny_params) -> None:
    root, params = make_workspace(3, 0), tiny_params()
    store = ImageStore(root, params.image, cache_mib=1)
    samples = [s for s in read_manifest(root / layout.MANIFEST) if s.labelled]
    counts_NK = count_classes(store, samples, params.num_classes)
    for sample, counts_K in zip(samples, counts_NK.tolist(), strict=True):
        found = Counter(store.mask(sample).flatten().tolist())
        assert found.pop(IGNORE) > 0
        assert counts_K == [found[c] for c in range(3)]


def test_weights_are_inverse_roots_with_mean_1() -> None:
    shares_K = torch.tensor([0.6, 0.3, 0.1, 0.0], dtype=torch.float64)
    weights = sqrt_inverse_weights(shares_K).tolist()
    assert weights[1] / weights[0] == pytest.approx(math.sqrt(0.6 / 0.3))
    assert weights[2] / weights[0] == pytest.approx(math.sqrt(0.6 / 0.1))
    assert sum(f * w for f, w in zip(shares_K.tolist(), weights, strict=True)) == pytest.approx(1)
    assert weights[3] == 1.0


def test_no_class_weighs_more_than_3_and_the_mean_stays_1() -> None:
    shares_K = torch.tensor([0.95, 0.03, 0.0199, 0.0001], dtype=torch.float64)
    weights = sqrt_inverse_weights(shares_K).tolist()
    assert weights[3] == 3.0
    assert max(weights) == 3.0
    assert weights[0] < weights[1] <= weights[2]
    assert sum(f * w for f, w in zip(shares_K.tolist(), weights, strict=True)) == pytest.approx(1)


@pytest.mark.parametrize("shares", [[0.0, 0.0], [1.0, 0.0]])
def test_nothing_to_balance_weighs_1(shares: list[float]) -> None:
    weights_K = sqrt_inverse_weights(torch.tensor(shares, dtype=torch.float64))
    assert weights_K.tolist() == [1.0, 1.0]


def test_a_class_is_drawn_by_its_rarity() -> None:
    shares = [248 / 300, 50 / 300, 2 / 300]
    parts = [math.exp((1 - f) / TEMPERATURE) for f in shares]
    probs = RareClasses(COUNTS_NK).probs_K.tolist()
    assert probs[:3] == pytest.approx([part / sum(parts) for part in parts])
    assert probs[3] == 0.0
    assert class_shares(COUNTS_NK).tolist()[:3] == pytest.approx(shares)


def test_then_an_image_that_has_it() -> None:
    rare = RareClasses(COUNTS_NK)
    drawn = Counter(rare.draw(0, range(3000)))
    p0, p1, p2, _ = rare.probs_K.tolist()
    expected = [p0 / 3 + p1 / 2, p0 / 3 + p2, p0 / 3 + p1 / 2]
    assert [drawn[n] / 3000 for n in range(3)] == pytest.approx(expected, abs=0.03)


def test_a_draw_hangs_on_seed_and_place_alone() -> None:
    rare = RareClasses(COUNTS_NK)
    whole = rare.draw(5, range(40))
    assert [rare.draw(5, range(n, n + 4)) for n in range(0, 40, 4)] == [
        whole[n : n + 4] for n in range(0, 40, 4)
    ]
    assert rare.draw(6, range(40)) != whole


def test_masks_without_a_class_are_drawn_alike() -> None:
    rare = RareClasses(torch.zeros(3, 2, dtype=torch.int64))
    assert set(rare.draw(0, range(50))) == {0, 1, 2}
