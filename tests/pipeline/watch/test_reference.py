"""p-values of planted embeddings, and which images are judged without each other."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.watch.change import ChangeDetector
from pipeline.watch.reference import (
    MIN_IMAGES,
    fit_metric,
    fit_reference,
    fit_references,
    most_plausible,
)
from pipeline.watch.sequences import MAX_FOLDS, folds_of

D = 24


def images(rng: np.random.Generator, number: int, shift: float = 0.0) -> np.ndarray:
    """Unit vectors round a point, `shift` along a direction in which the others do not vary."""
    rows_ND = np.zeros((number, D))
    rows_ND[:, 0] = 5
    rows_ND[:, 1:8] = rng.normal(size=(number, 7))
    rows_ND += rng.normal(scale=0.05, size=rows_ND.shape)
    rows_ND[:, -1] += shift
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def names(number: int) -> list[str]:
    """As by chance: every image is a sequence."""
    return [f"day/{index:04d}x" for index in range(number)]


def test_small_p_values_are_rare_on_the_domain_and_the_rule_elsewhere() -> None:
    rng = np.random.default_rng(0)
    reference = fit_reference("day", names(200), images(rng, 200))
    p = reference.p_values(images(rng, 400))
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 0.05
    assert np.median(p) < 0.8
    assert (reference.p_values(images(rng, 50, shift=1.0)) == 1 / 201).all()
    assert p.min() > 0


def test_whole_streams_keep_the_bound_and_a_shift_ends_them() -> None:
    """Many references and streams: at most n / A of them raise an alarm within n = 200 images."""
    rng = np.random.default_rng(1)
    early = late = 0
    for _ in range(40):
        reference = fit_reference("day", names(60), images(rng, 60))
        detector = ChangeDetector(false_alarm_every=1000, window=1)
        early += any(detector.add(float(p)) for p in reference.p_values(images(rng, 200)))
        after = reference.p_values(images(rng, 20, shift=1.0))
        late += any(detector.add(float(p)) for p in after) or detector.alarm is not None
    assert early <= 0.2 * 40
    assert late == 40


def test_what_fits_one_of_the_domains_is_known() -> None:
    rng = np.random.default_rng(0)
    both = fit_references(
        {"day": (names(60), images(rng, 60)), "dusk": (names(60), images(rng, 60, shift=2.0))}
    )
    p, nearest = most_plausible(both, np.concatenate([images(rng, 5), images(rng, 5, shift=2.0)]))
    assert nearest == ["day"] * 5 + ["dusk"] * 5
    assert np.median(p) > 0.1
    assert most_plausible(both, images(rng, 5, shift=-3.0))[0].max() < 0.05


def test_the_metric_makes_every_spread_one() -> None:
    rng = np.random.default_rng(0)
    rows_ND = rng.normal(size=(4000, 3)) * (9, 1, 0.1) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    spread = np.cov(fit_metric(rows_ND)(rows_ND).T)
    np.testing.assert_allclose(spread, np.eye(3), atol=0.05)


def test_a_drive_seen_once_is_judged_by_the_others() -> None:
    """Five drives apart from each other: the sixth is as unusual as they are, and no more."""
    rng = np.random.default_rng(0)
    offsets = rng.normal(scale=2, size=(6, D))
    drives = [images(rng, 20) + offset for offset in offsets]
    frames = [f"drive{letter}_{n:03d}" for letter in "abcde" for n in range(20)]
    apart = fit_reference("day", frames, np.concatenate(drives[:5]))
    alike = fit_reference("day", names(100), np.concatenate(drives[:5]))
    assert np.median(apart.p_values(drives[5])) > 0.1
    assert np.median(alike.p_values(drives[5])) < 0.02


def test_too_few_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=f"day: 3 images .* at least {MIN_IMAGES}"):
        fit_reference("day", names(3), images(rng, 3))
    with pytest.raises(DataError, match="no domain with 8 embedded images"):
        fit_references({"day": (names(3), images(rng, 3))})
    assert np.isfinite(fit_reference("day", names(8), np.ones((8, D))).distances_N).all()


@pytest.mark.parametrize(
    ("frames", "folds"),
    [
        ({"a_": 9}, [3, 3, 3]),
        ({"a_": 4, "b_": 2}, [2, 1, 1, 1, 1]),
        ({"a_": 4, "b_": 4, "c_": 4, "d_": 4, "e_": 4}, [4] * 5),
        ({"a_": 30, "b_": 2, "c_": 2, "d_": 2, "e_": 2}, [10] * 3 + [2] * 4),
        ({f"{i:02d}x": 1 for i in range(24)}, [2] * MAX_FOLDS),
    ],
)
def test_folds_are_sequences_or_stretches(frames: dict[str, int], folds: list[int]) -> None:
    stems = [f"day/{name}{k:03d}" for name, count in frames.items() for k in range(count)]
    if all(count == 1 for count in frames.values()):
        stems = [f"day/{name}" for name in frames]
    found = folds_of(stems)
    assert np.bincount(found).tolist() == folds
    assert (np.diff(found) >= 0).all()
