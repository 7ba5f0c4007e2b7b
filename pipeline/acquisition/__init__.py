"""Which images people are asked for: one file and one row per strategy."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.acquisition.class_weighted_entropy import class_weighted_entropy
from pipeline.acquisition.entropy import entropy
from pipeline.acquisition.entropy_k_center import entropy_k_center
from pipeline.acquisition.k_center import k_center
from pipeline.acquisition.pool import Pick, Pool
from pipeline.acquisition.random import random
from pipeline.acquisition.stratified_random import stratified_random
from pipeline.config import AcquireParams
from pipeline.errors import ConfigError


class Strategy(Protocol):
    """A rule from scores and embeddings to a query."""

    def __call__(
        self, pool: Pool, query_size: int, params: AcquireParams, rng: np.random.Generator, /
    ) -> list[Pick]:
        """`query_size` distinct candidates, highest score first, each with its reason.

        Also without scores. ValueError unless 1 <= query_size <= N.
        """
        ...


STRATEGIES: dict[str, Strategy] = {
    "class_weighted_entropy": class_weighted_entropy,
    "entropy": entropy,
    "entropy_k_center": entropy_k_center,
    "k_center": k_center,
    "random": random,
    "stratified_random": stratified_random,
}


def strategy(name: str) -> Strategy:
    """The row of STRATEGIES; ConfigError lists the known names."""
    if name not in STRATEGIES:
        raise ConfigError(
            f"acquire.strategy = {name!r}: unknown; known here: {', '.join(sorted(STRATEGIES))}"
        )
    return STRATEGIES[name]
