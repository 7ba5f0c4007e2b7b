"""Pixels per image and class, hit, true and predicted: the IoU of any set of images follows.

N images, K classes, R ways to weigh the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.array_files import array_of, read_arrays
from pipeline.errors import DataError
from pipeline.files import replacing
from pipeline.ids import domain_of
from pipeline.metrics.bootstrap import percentile_interval, resampled

Floats = NDArray[np.float64]

MIN_IMAGES = 10  # below, an interval over images says nothing
NUM_RESAMPLES = 2000  # the interval's ends then hold to about a tenth of its width
DECIMALS = 6  # far below what a seed changes


class Areas(NamedTuple):
    """Pixels per image and class: hit, true, predicted."""

    hits_NK: Floats
    truth_NK: Floats
    predicted_NK: Floats

    @classmethod
    def of_counts(cls, counts_NKK: Floats) -> Areas:
        """Of confusion matrices, row = truth, column = prediction."""
        hits_NK = counts_NKK.diagonal(axis1=1, axis2=2).copy()
        return cls(hits_NK, counts_NKK.sum(axis=2), counts_NKK.sum(axis=1))

    def rows(self, order: Sequence[int]) -> Areas:
        """Some of the images."""
        return Areas(*(values_NK[list(order)] for values_NK in self))


Judged = tuple[list[str], Areas]
"""Sample ids, and their areas in that order."""


def mious(areas: Areas, weights_RN: Floats) -> Floats:
    """As `iou.mean_iou` of every row of weights: over classes that the truth has."""
    hits_RK = weights_RN @ areas.hits_NK
    unions_RK = weights_RN @ (areas.truth_NK + areas.predicted_NK) - hits_RK
    known_RK = weights_RN @ areas.truth_NK > 0
    ious_RK = np.divide(hits_RK, unions_RK, out=np.zeros_like(hits_RK), where=known_RK)
    return ious_RK.sum(axis=1) / known_RK.sum(axis=1)


def resamples(num: int) -> Floats:
    """How often each of `num` images is drawn in each bootstrap sample; always the same."""
    return resampled(num, NUM_RESAMPLES, np.random.default_rng(0))


def drop_interval(before: Judged, now: Judged) -> tuple[float, float] | None:
    """95 % of the mIoU lost between two judgements of the same images; None with too few.

    Paired: both are weighed by the same draws, so that what is difficult about an image cancels.
    """
    common = sorted(set(before[0]) & set(now[0]))
    if len(common) < MIN_IMAGES:
        return None
    weights_RN = resamples(len(common))
    then_R, now_R = (
        mious(areas.rows([ids.index(name) for name in common]), weights_RN)
        for ids, areas in (before, now)
    )
    low, high = percentile_interval(then_R - now_R)
    return round(low, DECIMALS), round(high, DECIMALS)


def write_areas(path: Path, judged: Mapping[str, Judged]) -> None:
    """By domain; equal contents are equal files."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for domain, (ids, areas) in judged.items():
        arrays[f"{domain}/sample_ids"] = np.array(ids, dtype=np.str_)
        for name, values_NK in areas._asdict().items():
            arrays[f"{domain}/{name}"] = values_NK.astype(np.int64)
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_areas(file: Path | bytes, source: str | None = None) -> dict[str, Judged]:
    """What `write_areas` wrote, from a path or as git has it; DataError says what is damaged."""
    called = source or str(file)
    arrays = read_arrays(file, source=called)
    domains = [domain_of(name) for name in arrays if name.endswith("/sample_ids")]
    found = {}
    for domain in domains:
        ids = array_of(arrays, f"{domain}/sample_ids", "U", 1, called).tolist()
        areas = Areas(*(array_of(arrays, f"{domain}/{k}", "iu", 2, called) for k in Areas._fields))
        if (
            len({(len(ids), *each.shape[1:]) for each in areas} | {each.shape for each in areas})
            > 1
        ):
            raise DataError(f"{called}: areas of {domain} are not one row per image")
        found[domain] = (ids, Areas(*(each.astype(np.float64) for each in areas)))
    return found
