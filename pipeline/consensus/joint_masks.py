"""One mask of several people's: by majority, or by STAPLE.

R people, H height, W width, K classes, N different ways in which all of them labelled a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.types import IGNORE

Mask = NDArray[np.uint8]
FIRST_ACCURACY = 0.99999  # of everybody, before anything is known (Warfield et al. 2004, V)
MOST_STEPS, SETTLED = 200, 1e-7  # of the expectation maximisation
TIED = 1e-9


def majority(masks: Sequence[Mask]) -> Mask:
    """The class that most people gave, pixel by pixel; IGNORE where classes tie, or nobody did."""
    stacked_RHW = _stacked(masks)
    patterns_NR, inverse_HW, _ = _patterns(stacked_RHW)
    votes_NK = _votes(patterns_NR)
    return _decided(votes_NK)[inverse_HW].reshape(stacked_RHW.shape[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Staple:
    """What STAPLE says about people and pixels."""

    mask_HW: Mask
    """The likeliest class; IGNORE where two are equally likely, or nobody gave any."""
    performance_RKK: NDArray[np.float64]
    """[person, class that the person gave, true class]: probability, by columns of sum 1."""


def staple(masks: Sequence[Mask], num_classes: int) -> Staple:
    """Simultaneous truth and performance level estimation (Warfield, Zou and Wells 2004).

    Everybody has a matrix of what they give where the truth is what; truth and matrices are
    estimated in turns (eqs. 14 and 18 for several categories, V). The prior of a class is its share
    of all labels; pixels are independent of their neighbours. A pixel that a person left without a
    label says nothing about that person.
    """
    stacked_RHW = _stacked(masks)
    patterns_NR, inverse_HW, counts_N = _patterns(stacked_RHW)
    given_NRK = patterns_NR[..., None] == np.arange(num_classes)
    prior_K = np.einsum("nrk,n->k", given_NRK, counts_N).astype(np.float64)
    prior_K /= max(prior_K.sum(), 1.0)
    wrong = (1 - FIRST_ACCURACY) / max(1, num_classes - 1)
    first_KK: NDArray[np.float64] = np.full((num_classes, num_classes), wrong)
    np.fill_diagonal(first_KK, FIRST_ACCURACY)
    performance_RKK: NDArray[np.float64] = np.repeat(first_KK[None], len(masks), axis=0)
    truth_NK: NDArray[np.float64] = np.zeros((len(patterns_NR), num_classes))
    for _ in range(MOST_STEPS):
        before_NK, truth_NK = truth_NK, _truth(given_NRK, prior_K, performance_RKK)
        performance_RKK = _performance(given_NRK, truth_NK, counts_N, performance_RKK)
        if np.abs(truth_NK - before_NK).max(initial=0.0) < SETTLED:
            break
    mask_HW = _decided(truth_NK)[inverse_HW].reshape(stacked_RHW.shape[1:])
    return Staple(mask_HW=mask_HW, performance_RKK=performance_RKK)


def _truth(
    given_NRK: NDArray[np.bool_], prior_K: NDArray[np.float64], performance_RKK: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of every class, by what all people gave (the E step)."""
    # What people give as [given class, true class]; where nobody gave anything the product is 1.
    likely_NRK = np.einsum("nrg,rgk->nrk", given_NRK, performance_RKK)
    likely_NRK[~given_NRK.any(axis=-1)] = 1.0
    weights_NK: NDArray[np.float64] = prior_K * likely_NRK.prod(axis=1)
    weights_NK[~given_NRK.any(axis=(1, 2))] = 0.0
    totals_N1 = weights_NK.sum(axis=1, keepdims=True)
    return np.divide(weights_NK, totals_N1, out=np.zeros_like(weights_NK), where=totals_N1 > 0)


def _performance(
    given_NRK: NDArray[np.bool_],
    truth_NK: NDArray[np.float64],
    counts_N: NDArray[np.int64],
    before_RKK: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Everybody's matrix, by the probable truth (the M step); as before of a class without any."""
    weighed_NK = truth_NK * counts_N[:, None]
    sums_RKK = np.einsum("nrg,nk->rgk", given_NRK, weighed_NK)
    totals_R1K = sums_RKK.sum(axis=1, keepdims=True)
    return np.divide(sums_RKK, totals_R1K, out=before_RKK.copy(), where=totals_R1K > 0)


def _stacked(masks: Sequence[Mask]) -> Mask:
    shapes = {mask.shape for mask in masks}
    if len(shapes) != 1:
        raise ValueError(f"masks of sizes {sorted(shapes)}: expected one or more of equal size")
    return np.stack(list(masks))


class _Patterns(NamedTuple):
    """How all people labelled a pixel, each way once."""

    labels_NR: NDArray[np.uint8]
    of_pixel_P: NDArray[np.intp]
    """The way in which each pixel was labelled."""
    counts_N: NDArray[np.int64]
    """Pixels that were labelled so."""


def _patterns(stacked_RHW: Mask) -> _Patterns:
    flat_PR = stacked_RHW.reshape(len(stacked_RHW), -1).T
    labels_NR, of_pixel_P, counts_N = np.unique(
        flat_PR, axis=0, return_inverse=True, return_counts=True
    )
    return _Patterns(labels_NR, of_pixel_P.reshape(-1), counts_N.astype(np.int64))


def _votes(patterns_NR: Mask) -> NDArray[np.float64]:
    known = patterns_NR[patterns_NR != IGNORE]
    num_classes = int(known.max()) + 1 if len(known) else 1
    votes_NK: NDArray[np.float64] = (
        (patterns_NR[..., None] == np.arange(num_classes)).sum(axis=1).astype(np.float64)
    )
    return votes_NK


def _decided(weights_NK: NDArray[np.float64]) -> Mask:
    """The class of most weight; IGNORE without any, or where two have it."""
    best_N1 = weights_NK.max(axis=1, keepdims=True)
    alone_N = (weights_NK >= best_N1 - TIED).sum(axis=1) == 1
    decided_N = np.where(alone_N & (best_N1[:, 0] > 0), weights_NK.argmax(axis=1), IGNORE)
    return decided_N.astype(np.uint8)
