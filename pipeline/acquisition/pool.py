"""What a strategy is given and what it answers.

Shape suffixes: N candidates, M labelled, D embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config.params import AcquireParams
from pipeline.errors import DataError
from pipeline.records.query import Source

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
    names: tuple[str, ...] = ()
    """K names for people; empty: they are numbered."""

    def name(self, index: int) -> str:
        """A class in words."""
        return self.names[index] if self.names else f"class {index}"

    def rows(self, order: NDArray[np.intp]) -> ByClass:
        """Some candidates, or all in another order."""
        return replace(self, entropy_NK=self.entropy_NK[order], shares_NK=self.shares_NK[order])


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The candidates of the next query, kept in order of their ids.

    One order, so that no strategy can depend on the order in which files were listed, and so that
    "the earlier row" is a tie-break by id.
    """

    sample_ids: tuple[str, ...]
    """N ids, distinct."""
    embeddings_ND: Floats
    """One vector per candidate."""
    labelled_embeddings_MD: Floats
    """Vectors of what is labelled already, in every domain, in order of their values; M may be
    0."""
    scores: Mapping[str, Floats] = field(default_factory=dict)
    """N values in [0, 1] per name (pipeline.acquisition.strategies.SCORES), higher = less certain;
    empty while there is no trained model."""
    by_class: ByClass | None = None
    """What the model says class by class; None while there is no trained model."""
    gradients_NG: Floats | None = None
    """The loss's gradient at the last layer, were the model right; None unless asked for."""
    spent_share: float = 0.0
    """How much of the budget is spent, or of the pool where there is none, in [0, 1]: a strategy
    may get surer of its scores."""

    def __post_init__(self) -> None:
        _check(self)
        order = np.argsort(np.array(self.sample_ids, dtype=np.str_), kind="stable")
        for name, value in _rows_of(self, order).items():
            object.__setattr__(self, name, value)
        known_MD = self.labelled_embeddings_MD
        object.__setattr__(self, "labelled_embeddings_MD", known_MD[np.lexsort(known_MD.T)])

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def trained(self) -> bool:
        """Whether a trained model has looked at the candidates."""
        return self.by_class is not None or bool(self.scores)

    def has(self, need: str) -> bool:
        """Whether what a strategy needs is there (Strategy.needs)."""
        if need == "labelled":
            return len(self.labelled_embeddings_MD) > 0
        if need == "by_class":
            return self.by_class is not None
        if need == "gradients":
            return self.gradients_NG is not None
        return need in self.scores

    @property
    def known_by_class(self) -> ByClass:
        """For strategies that need it."""
        if self.by_class is None:
            raise ValueError("the pool has no values by class; expected a trained model's")
        return self.by_class

    def ranking(self, name: str) -> NDArray[np.intp]:
        """Rows by a score, the most uncertain first, ties by id."""
        return np.argsort(-self.scores[name], kind="stable")

    def without(self, rows: NDArray[np.intp]) -> Pool:
        """The other candidates; those left out count as labelled: their likes need no label."""
        rest = np.setdiff1d(np.arange(len(self)), rows)
        covered_MD = np.concatenate([self.labelled_embeddings_MD, self.embeddings_ND[rows]])
        return replace(self, **_rows_of(self, rest), labelled_embeddings_MD=covered_MD)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One sample of a query and why it was chosen."""

    sample_id: str
    score: float
    """In [0, 1], higher = sooner; a query is sorted by it, as Label Studio's label stream is."""
    reason: str
    """In words, for the annotator and the report."""
    source: Source = "strategy"
    """audit = drawn uniformly from all candidates, whichever the strategy."""


class Choose(Protocol):
    """A rule from scores and embeddings to candidates."""

    def __call__(
        self, pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator, /
    ) -> list[Pick]:
        """`num` distinct candidates of at least as many, the surest choice first, with reasons."""
        ...


def in_order(picks: Iterable[Pick]) -> list[Pick]:
    """Highest score first; equal scores keep the order in which they were picked."""
    return sorted(picks, key=lambda pick: -pick.score)


def check_query_size(query_size: int, pool: Pool) -> None:
    """ValueError unless the pool can answer a query of this size."""
    if not 1 <= query_size <= len(pool):
        raise ValueError(f"query_size {query_size}: expected 1 to {len(pool)}, the pool's size")


def _rows_of(pool: Pool, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Everything that goes by candidate, for these rows."""
    return {
        "sample_ids": tuple(pool.sample_ids[row] for row in rows),
        "embeddings_ND": pool.embeddings_ND[rows],
        "scores": {name: values_N[rows] for name, values_N in pool.scores.items()},
        "by_class": None if pool.by_class is None else pool.by_class.rows(rows),
        "gradients_NG": None if pool.gradients_NG is None else pool.gradients_NG[rows],
    }


def _check(pool: Pool) -> None:
    num, vectors = len(pool.sample_ids), pool.embeddings_ND
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
    for name, values in pool.scores.items():
        if values.shape != (num,) or not ((values >= 0) & (values <= 1)).all():  # NaN fails too
            raise DataError(f"{name} of shape {values.shape}: expected {num} values in [0, 1]")
    gradients = pool.gradients_NG
    if gradients is not None and (len(gradients) != num or not np.isfinite(gradients).all()):
        raise DataError(f"gradients of shape {gradients.shape}: expected {num} rows, all finite")


def _check_by_class(found: ByClass, num: int) -> None:
    shape = (num, len(found.labelled_shares_K))
    for name in ("entropy_NK", "shares_NK", "labelled_shares_K"):
        values = getattr(found, name)
        expected = shape[1:] if name == "labelled_shares_K" else shape
        if values.shape != expected or not ((values >= 0) & (values <= 1)).all():  # NaN fails too
            raise DataError(f"{name} of shape {values.shape}: expected {expected}, all in [0, 1]")
