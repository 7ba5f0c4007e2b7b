"""What the benchmark of k-center compares with chooses the same points."""

from __future__ import annotations

import pytest

from benchmarks.timings.exact_k_center import KINDS, cdist_per_pick, features, product_per_pick
from pipeline.acquisition.diversity import k_center


@pytest.mark.parametrize("kind", KINDS)
def test_plain_ways_choose_what_k_center_chooses(kind: str) -> None:
    points = features(kind, 300)
    rows = [row for row, _ in k_center(points, points[:0], 40)]
    assert set(product_per_pick(points, 40)) == set(rows)
    assert set(cdist_per_pick(points, 40)) == set(rows)
