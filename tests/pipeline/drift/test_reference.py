"""p-values of planted embeddings, and which images are judged without each other."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.drift.change_test import ChangeDetector
from pipeline.drift.reference import (
    FLOOR,
    MIN_IMAGES,
    DomainEmbeddings,
    Reference,
    fit_metric,
    fit_reference,
    fit_references,
    most_plausible,
)
from pipeline.drift.sequences import MAX_FOLDS, folds_of
from pipeline.errors import DataError

D = 24
ONE, TWO = [D], [8, D - 8]  # widths of scales


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
    reference = fit_reference("day", names(200), images(rng, 200), TWO)
    p_MS = reference.p_values(images(rng, 400))
    assert p_MS.shape == (400, 2)
    for level in (0.05, 0.2, 0.5):
        assert ((p_MS <= level).mean(axis=0) <= level + 0.05).all()
    assert (np.median(p_MS, axis=0) < 0.8).all()


def test_an_image_counts_at_most_as_one_in_fifty() -> None:
    """The shift is in the second scale, which holds the last feature."""
    rng = np.random.default_rng(0)
    rows_ND, shifted_MD = images(rng, 200), images(rng, 50, shift=1.0)
    reference = fit_reference("day", names(200), rows_ND, TWO)
    assert (reference.shares(shifted_MD)[:, 1] == 1 / 201).all()
    for p_MS in (reference.p_values(shifted_MD), most_plausible([reference], shifted_MD)[0]):
        assert (p_MS[:, 1] == FLOOR).all()
        assert (p_MS[:, 0] >= FLOOR).all()
    few = fit_reference("day", names(20), rows_ND[:20], TWO)  # which say no more than 1 in 21
    assert (few.p_values(shifted_MD)[:, 1] == 1 / 21).all()


def first_alarm(reference: Reference, stream_MD: np.ndarray) -> int | None:
    detector = ChangeDetector(false_alarm_every=10_000, window=1)
    for p_S in reference.p_values(stream_MD):
        if alarm := detector.add(p_S):
            return alarm.raised_at
    return None


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_in_a_small_scale_is_not_lost_among_the_others(seed: int) -> None:
    """Of 244 features the first 4 shift, after 20 images: with all joined it is noise for long."""
    rng = np.random.default_rng(seed)
    rows_ND = rng.normal(size=(360, 244))
    rows_ND[220:, :4] += 2
    kept, stream = rows_ND[:200], rows_ND[200:]
    joined = first_alarm(fit_reference("day", names(200), kept, [244]), stream)
    by_scale = first_alarm(fit_reference("day", names(200), kept, [4, 40, 200]), stream)
    assert by_scale is not None
    assert 20 <= by_scale < 20 + 15
    assert joined is None or joined >= 20 + 50


def test_whole_streams_keep_the_bound_and_a_shift_ends_them() -> None:
    """Many references and streams: at most n / A of them raise an alarm within n = 200 images."""
    rng = np.random.default_rng(1)
    early = late = 0
    for _ in range(40):
        reference = fit_reference("day", names(60), images(rng, 60), TWO)
        detector = ChangeDetector(false_alarm_every=1000, window=1)
        early += any(detector.add(p_S) for p_S in reference.p_values(images(rng, 200)))
        after = reference.p_values(images(rng, 20, shift=1.0))
        late += any(detector.add(p_S) for p_S in after) or detector.alarm is not None
    assert early <= 0.2 * 40
    assert late == 40


def test_what_fits_one_of_the_domains_is_known() -> None:
    rng = np.random.default_rng(0)
    both = fit_references(
        {
            "day": DomainEmbeddings(names(60), images(rng, 60), TWO),
            "dusk": DomainEmbeddings(names(60), images(rng, 60, shift=2.0), TWO),
        }
    )
    p_MS, nearest = most_plausible(
        both, np.concatenate([images(rng, 5), images(rng, 5, shift=2.0)])
    )
    assert nearest == ["day"] * 5 + ["dusk"] * 5
    assert (np.median(p_MS, axis=0) > 0.1).all()
    assert most_plausible(both, images(rng, 5, shift=-3.0))[0][:, 1].max() < 0.05


def test_of_domains_that_are_all_far_the_less_far_fits_best() -> None:
    """The floor would make them alike, and the first one the nearest."""
    rng = np.random.default_rng(0)
    both = fit_references(
        {
            "day": DomainEmbeddings(names(200), images(rng, 200), ONE),
            "dusk": DomainEmbeddings(names(200), images(rng, 200), ONE),
        }
    )
    day, dusk = (reference.scales_S[0] for reference in both)
    np.put(dusk.distances_N, [198, 199], 1e6)  # two of its own were as far: a share of 3 in 201
    p_MS, nearest = most_plausible([both[0], both[1]], images(rng, 3, shift=1.0))
    assert (p_MS == FLOOR).all()
    assert nearest == ["dusk"] * 3
    assert day.distances_N[-1] < 1e6


def test_each_scale_has_its_own_best_domain() -> None:
    """An image between two domains is as likely as it is in the better one, scale by scale."""
    rng = np.random.default_rng(0)
    references = fit_references(
        {
            "day": DomainEmbeddings(names(60), images(rng, 60), TWO),
            "dusk": DomainEmbeddings(names(60), images(rng, 60, shift=2.0), TWO),
        }
    )
    rows_MD = images(rng, 5, shift=1.0)
    p_MS, _ = most_plausible(references, rows_MD)
    each_RMS = np.stack([reference.p_values(rows_MD) for reference in references])
    np.testing.assert_array_equal(p_MS, each_RMS.max(axis=0))


@pytest.mark.parametrize("widths", [[], [D - 1], [D, 1], [D, 0], [D + 4, -4]])
def test_widths_that_are_not_those_of_the_rows_are_refused(widths: list[int]) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=rf"scales of \[.*\] features: .* the sum {D}"):
        fit_reference("day", names(8), images(rng, 8), widths)


def test_images_of_another_encoder_are_refused() -> None:
    rng = np.random.default_rng(0)
    reference = fit_reference("day", names(8), images(rng, 8), TWO)
    with pytest.raises(ValueError, match=r"scales of \[8, 16\] features: .* the sum 25"):
        reference.p_values(np.ones((2, D + 1)))


def test_domains_with_other_scales_are_refused() -> None:
    rng = np.random.default_rng(0)
    embedded = {
        "day": DomainEmbeddings(names(8), images(rng, 8), TWO),
        "dusk": DomainEmbeddings(names(8), images(rng, 8), ONE),
    }
    with pytest.raises(DataError, match=r"'day': \[8, 16\], 'dusk': \[24\].*--force embed"):
        fit_references(embedded)


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
    apart = fit_reference("day", frames, np.concatenate(drives[:5]), ONE)
    alike = fit_reference("day", names(100), np.concatenate(drives[:5]), ONE)
    assert np.median(apart.p_values(drives[5])) > 0.1
    assert np.median(alike.p_values(drives[5])) == FLOOR


def test_too_few_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=f"day: 3 images .* at least {MIN_IMAGES}"):
        fit_reference("day", names(3), images(rng, 3), ONE)
    with pytest.raises(DataError, match="no domain with 8 embedded images"):
        fit_references({"day": DomainEmbeddings(names(3), images(rng, 3), ONE)})
    equal = fit_reference("day", names(8), np.ones((8, D)), TWO)
    assert all(np.isfinite(scale.distances_N).all() for scale in equal.scales_S)


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
