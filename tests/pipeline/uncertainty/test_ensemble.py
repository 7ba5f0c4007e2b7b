"""Members one at a time against all at once."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from pipeline.uncertainty import ensemble
from pipeline.uncertainty.ensemble import Members, bald_of, disagreement


def members_of(count: int, size: tuple[int, int] = (6, 8), num_classes: int = 4) -> np.ndarray:
    rng = np.random.default_rng(count)
    raw = rng.standard_normal((count, num_classes, *size)).astype(np.float32) * 3
    exp = np.exp(raw)
    return exp / exp.sum(axis=1, keepdims=True)


def added(probs_MKHW: np.ndarray) -> Members:
    found = Members()
    for probs_KHW in probs_MKHW:
        found.add(probs_KHW)
    return found


def entropy_of(probs: np.ndarray, axis: int) -> np.ndarray:
    wide = probs.astype(np.float64)
    return -(wide * np.log(wide)).sum(axis=axis) / math.log(probs.shape[axis])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_streamed_equals_all_at_once(count: int) -> None:
    probs_MKHW = members_of(count)
    found = added(probs_MKHW)
    mean_KHW = probs_MKHW.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found.mean, mean_KHW, atol=1e-6)
    np.testing.assert_allclose(found.entropy, entropy_of(mean_KHW, 0), atol=1e-6)
    expected = entropy_of(mean_KHW, 0) - entropy_of(probs_MKHW, 1).mean(axis=0)
    np.testing.assert_allclose(found.bald, expected, atol=2e-6)


def test_members_that_agree_know_it_however_unsure_they_are() -> None:
    one_KHW = members_of(1)[0]
    np.testing.assert_allclose(added(np.stack([one_KHW] * 5)).bald, 0.0, atol=1e-6)


def test_members_sure_of_different_classes_are_at_the_top() -> None:
    found = added(np.eye(4, dtype=np.float32)[:, :, None, None])
    np.testing.assert_allclose(found.bald, [[1.0]], atol=1e-6)


def test_the_order_of_members_and_classes_changes_nothing() -> None:
    probs_MKHW = members_of(3)
    moved = added(probs_MKHW[[2, 0, 1]][:, [3, 1, 0, 2]])
    np.testing.assert_allclose(moved.bald, added(probs_MKHW).bald, atol=2e-6)


def test_memory_does_not_grow_with_the_members() -> None:
    probs_KHW = members_of(1, size=(128, 128))[0]
    tracemalloc.start()
    found = Members()
    found.add(probs_KHW)
    _, first = tracemalloc.get_traced_memory()
    for _ in range(20):
        found.add(probs_KHW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= first + 2 * probs_KHW.nbytes


def test_what_was_given_is_left_as_it_was() -> None:
    probs_MKHW = members_of(3)
    before = probs_MKHW.copy()
    _ = added(probs_MKHW).bald
    np.testing.assert_array_equal(probs_MKHW, before)


def test_other_shapes_and_no_members_are_refused() -> None:
    found = Members()
    with pytest.raises(ValueError, match="no member was added"):
        _ = found.bald
    found.add(members_of(1)[0])
    with pytest.raises(ValueError, match=r"shape \(4, 6, 7\): expected \(4, 6, 8\)"):
        found.add(members_of(1, size=(6, 7))[0])
    with pytest.raises(ValueError, match="sum up to"):
        found.add(members_of(1)[0] * 2)


def test_an_array_of_members_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    probs_MKHW = members_of(5)
    other_MKHW = probs_MKHW[:, :, ::-1]
    probs_NKHWM = np.stack([probs_MKHW, other_MKHW]).transpose(0, 2, 3, 4, 1)
    expected_NHW = np.stack([added(probs_MKHW).bald, added(other_MKHW).bald])
    for block in (1, 64, 1 << 18):
        monkeypatch.setattr(ensemble, "BLOCK", block)
        np.testing.assert_allclose(bald_of(probs_NKHWM), expected_NHW, atol=2e-6)
    with pytest.raises(ValueError, match="sum up to"):
        bald_of(probs_NKHWM * 2)


def test_divergence_of_two() -> None:
    one_KHW, other_KHW = members_of(2)
    mean_KHW = (one_KHW + other_KHW) / 2
    naive = sum((half * np.log2(half / mean_KHW)).sum(axis=0) / 2 for half in (one_KHW, other_KHW))
    np.testing.assert_allclose(disagreement(one_KHW, other_KHW), naive, atol=2e-6)
    np.testing.assert_allclose(
        disagreement(one_KHW, other_KHW), disagreement(other_KHW, one_KHW), atol=1e-6
    )
    np.testing.assert_allclose(disagreement(one_KHW, one_KHW), 0.0, atol=1e-6)
    sure = np.eye(4, dtype=np.float32)[:, :, None, None]
    np.testing.assert_allclose(disagreement(sure[0], sure[1]), [[1.0]], atol=1e-6)
