"""Small pools whose right answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.acquisition.pool import ByClass, Floats, Pick, Pool
from pipeline.config.params import AcquireParams

NO_AUDIT = AcquireParams(audit_share=0.0, prefilter=60)  # k-center sees the whole of small pools


def make_pool(scores: Floats | None, embeddings: Floats, labelled: Floats | None = None) -> Pool:
    return Pool(
        sample_ids=tuple(f"day/{place:04d}" for place in range(len(embeddings))),
        scores={} if scores is None else {"entropy": scores},
        embeddings_ND=embeddings,
        labelled_embeddings_MD=embeddings[:0] if labelled is None else labelled,
    )


def planted(num: int = 1000) -> Pool:
    """Scores 0, 1/num, ... in a shuffled order; the mean of all is 0.5."""
    rng = np.random.default_rng(0)
    return make_pool(rng.permutation(num) / num, rng.normal(size=(num, 4)))


def clusters(sizes: list[int]) -> Floats:
    """Tight groups at the corners of a simplex."""
    rng = np.random.default_rng(0)
    corners = np.repeat(np.eye(len(sizes)), sizes, axis=0)
    return corners + rng.normal(scale=0.01, size=corners.shape)


def falling(num: int) -> Floats:
    return np.array([0.9 - 0.4 * place / num for place in range(num)])


def ids(picks: list[Pick], source: str | None = None) -> set[str]:
    return {pick.sample_id for pick in picks if source in (None, pick.source)}


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def with_classes(pool: Pool, entropy: Floats, shares: Floats, labelled: list[float]) -> Pool:
    found = ByClass(entropy_NK=entropy, shares_NK=shares, labelled_shares_K=np.array(labelled))
    return replace(pool, by_class=found)
