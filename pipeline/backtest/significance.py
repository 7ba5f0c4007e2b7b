"""Learning curves compared: area under the curve, paired bootstrap over seeds, verdict.

S seeds, R points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

REFERENCES = ("random", "stratified_random")  # what others are held against, where they run
SHARES = (0.90, 0.95, 0.98)  # of full supervision
NUM_RESAMPLES, LEVEL = 10_000, 0.95
ENOUGH_SEEDS = 5  # a bootstrap over fewer is too narrow to be sure by
POINTS = 100  # of mIoU in 1


def summary(
    curves: Mapping[str, Sequence[Sequence[float]]],
    labels: Sequence[float],
    full: float,
) -> dict[str, Any]:
    """Per strategy: labels, mIoU by seed, area under the curve, differences, labels needed."""
    references = [name for name in REFERENCES if name in curves]
    found: dict[str, Any] = {}
    for name, by_seed in curves.items():
        curve_SR = np.array(by_seed)
        row: dict[str, Any] = {
            "labels": list(labels),
            "miou": [list(each) for each in by_seed],
            "aulc": round(float(aulc(curve_SR, labels).mean()), 6),
            "labels_for": {
                f"{share:.0%}": labels_needed(curve_SR.mean(axis=0), labels, share * full)
                for share in SHARES
            },
        }
        for reference in references:
            other_SR = np.array(curves[reference])
            gains_S = aulc(curve_SR, labels) - aulc(other_SR, labels)
            row[f"aulc_minus_{reference}"] = interval(gains_S)
        found[name] = row
    return found


def aulc(curve_SR: NDArray[np.float64], labels: Sequence[float]) -> NDArray[np.float64]:
    """Area under each curve over the number of labels, divided by its width: a mean mIoU."""
    if len(labels) == 1:
        return curve_SR[:, 0]
    areas_S: NDArray[np.float64] = np.trapezoid(curve_SR, labels, axis=1)  # type: ignore[assignment]
    return areas_S / (labels[-1] - labels[0])


def interval(gains_S: NDArray[np.float64]) -> list[float | None]:
    """Mean, and the percentile bootstrap interval of 95 % over the seeds; one seed has none."""
    mean = float(gains_S.mean())
    if len(gains_S) == 1:
        return [round(mean, 6), None, None]
    low, high = bootstrap(
        (gains_S,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [round(float(value), 6) for value in (mean, low, high)]


def labels_needed(
    curve_R: NDArray[np.float64], labels: Sequence[float], wanted: float
) -> float | None:
    """The labels from which the curve reaches `wanted`, between points by a straight line.

    Whole labels are rounded up, shares to two decimals; None where the curve does not reach it.
    """
    reached = np.flatnonzero(curve_R >= wanted)
    if not len(reached):
        return None
    place = int(reached[0])
    if place == 0:
        return labels[0]
    below, above = curve_R[place - 1], curve_R[place]
    share = (wanted - below) / (above - below)
    found = float(labels[place - 1] + share * (labels[place] - labels[place - 1]))
    return math.ceil(found) if isinstance(labels[0], int) else round(found, 2)


def compare(
    name: str, gain: Sequence[float | None], num_seeds: int, reference: str = "random"
) -> str:
    """Verdict on one strategy: better than, worse than, or as good as the reference."""
    mean, low, high = gain
    assert mean is not None, "one seed is enough for a mean"
    if low is None or high is None:
        return (
            f"{name}: {POINTS * mean:+.1f} points to {reference} with one seed: nothing to go by."
        )
    told = (
        f"{POINTS * mean:+.1f} points of mIoU on average over the curve ({POINTS * low:+.1f} to "
        f"{POINTS * high:+.1f}, {num_seeds} seeds)"
    )
    verb = "is" if num_seeds >= ENOUGH_SEEDS else "seems"
    if low > 0:
        return f"{name} {verb} better than {reference}: {told}."
    if high < 0:
        return f"{name} {verb} worse than {reference}: {told}."
    return f"{name} is as good as {reference}, as far as {num_seeds} seeds tell: {told}."


def sentences(strategies: Mapping[str, Mapping[str, Any]], reference: str = "random") -> list[str]:
    """Verdicts on every strategy but the reference; none without the reference."""
    return [
        compare(name, row[f"aulc_minus_{reference}"], len(row["miou"]), reference)
        for name, row in strategies.items()
        if name != reference and f"aulc_minus_{reference}" in row
    ]


def verdict(strategies: Mapping[str, Mapping[str, Any]]) -> str:
    """The sentences on all strategies but random."""
    said = sentences(strategies)
    return " ".join(said) or "Nothing to compare: `random` and another strategy have to run."
