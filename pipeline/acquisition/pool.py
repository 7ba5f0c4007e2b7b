"""What a strategy is given and what it answers.

Shape suffixes: N candidates, M labelled, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.query import Source

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ByClass:
    """Uncertainty and prediction split by class."""

    entropy_NK: Floats
    """Mean over an image's pixels of entropy / log K times the class's probability; the sum over K
    is the mean entropy."""
    shares_NK: Floats
    """Share of an image's pixels predicted as each class, rows sum up to 1."""
    labelled_shares_K: Floats
    """Share of each class among the labelled pixels so far; all 0 while there are none."""

    def rows(self, order: NDArray[np.intp]) -> ByClass:
        """The candidates in another order."""
        return replace(self, entropy_NK=self.entropy_NK[order], shares_NK=self.shares_NK[order])


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The candidates of the next query, kept in order of their ids.

    One order, so that no strategy can depend on the order in which files were listed, and so that
    "the earlier row" is a tie-break by id.
    """

    sample_ids: tuple[str, ...]
    """N ids, distinct."""
    scores_N: Floats | None
    """Uncertainty in [0, 1], higher = sooner; None while there is no trained model."""
    embeddings_ND: Floats
    """One vector per candidate."""
    labelled_embeddings_MD: Floats
    """Vectors of what is labelled already, in every domain; M may be 0."""
    by_class: ByClass | None = None
    """What the model says class by class; None while there is no trained model."""

    def __post_init__(self) -> None:
        order = np.argsort(np.array(self.sample_ids, dtype=np.str_), kind="stable")
        _check(self)
        sorted_ids = tuple(self.sample_ids[row] for row in order)
        object.__setattr__(self, "sample_ids", sorted_ids)
        object.__setattr__(self, "embeddings_ND", self.embeddings_ND[order])
        if self.scores_N is not None:
            object.__setattr__(self, "scores_N", self.scores_N[order])
        if self.by_class is not None:
            object.__setattr__(self, "by_class", self.by_class.rows(order))

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One sample of a query and why it was chosen."""

    sample_id: str
    score: float
    """In [0, 1], higher = sooner; a query is sorted by it, as Label Studio's label stream is."""
    reason: str
    """In words, for the annotator and the report."""
    source: Source
    """audit = drawn uniformly from all candidates, whichever the strategy."""


def in_order(picks: Iterable[Pick]) -> list[Pick]:
    """Highest score first; equal scores keep the order in which they were picked."""
    return sorted(picks, key=lambda pick: -pick.score)


def by_uncertainty(pool: Pool) -> NDArray[np.intp]:
    """Rows of the pool, most uncertain first, ties by id; ValueError when there are no scores."""
    if pool.scores_N is None:
        raise ValueError("the pool has no scores; expected a trained model's")
    return np.argsort(-pool.scores_N, kind="stable")


def check_query_size(query_size: int, pool: Pool) -> None:
    """ValueError unless the pool can answer a query of this size."""
    if not 1 <= query_size <= len(pool):
        raise ValueError(f"query_size {query_size}: expected 1 to {len(pool)}, the pool's size")


def _check(pool: Pool) -> None:
    num, vectors, scores = len(pool.sample_ids), pool.embeddings_ND, pool.scores_N
    if len(set(pool.sample_ids)) != num:
        twice = sorted({name for name in pool.sample_ids if pool.sample_ids.count(name) > 1})
        raise DataError(f"candidates named twice: {twice[:5]}; ids are unique in the workspace")
    if vectors.ndim != 2 or len(vectors) != num or not np.isfinite(vectors).all():
        raise DataError(f"embeddings of shape {vectors.shape}: expected {num} rows, all finite")
    covered = pool.labelled_embeddings_MD
    if covered.ndim != 2 or covered.shape[1] != vectors.shape[1] or not np.isfinite(covered).all():
        raise DataError(
            f"labelled embeddings of shape {covered.shape}: expected rows of {vectors.shape[1]} "
            "finite values, as the candidates'; repeat the stage embed for every domain"
        )
    if pool.by_class is not None:
        _check_by_class(pool.by_class, num)
    if scores is None:
        return
    if scores.shape != (num,) or not ((scores >= 0) & (scores <= 1)).all():  # NaN fails too
        raise DataError(f"scores of shape {scores.shape}: expected {num} values in [0, 1]")


def _check_by_class(found: ByClass, num: int) -> None:
    shape = (num, len(found.labelled_shares_K))
    for name in ("entropy_NK", "shares_NK", "labelled_shares_K"):
        values = getattr(found, name)
        expected = shape[1:] if name == "labelled_shares_K" else shape
        if values.shape != expected or not ((values >= 0) & (values <= 1)).all():  # NaN fails too
            raise DataError(f"{name} of shape {values.shape}: expected {expected}, all in [0, 1]")
