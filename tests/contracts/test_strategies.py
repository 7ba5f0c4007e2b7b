"""Every row of STRATEGIES keeps the protocol's promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.acquisition import STRATEGIES, query, strategy
from pipeline.acquisition.pool import ByClass, Pool
from pipeline.acquisition.strategies import SCORES
from pipeline.config.params import AcquireParams
from pipeline.errors import ConfigError

PARAMS = AcquireParams(prefilter=3)
NUM = 40


@pytest.fixture(params=sorted(STRATEGIES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["scores", "no_scores"])
def pool(request: pytest.FixtureRequest) -> Pool:
    return make_pool(scored=request.param)


def make_pool(*, scored: bool = True, num: int = NUM, duplicates: bool = False) -> Pool:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(num, 5))
    return Pool(
        sample_ids=tuple(f"day/{place:03d}" for place in range(num)),
        embeddings_ND=np.ones((num, 5)) if duplicates else vectors,
        labelled_embeddings_MD=rng.normal(size=(3, 5)),
        # Rounded: many ties.
        scores={name: rng.uniform(size=num).round(1) for name in SCORES} if scored else {},
        by_class=make_by_class(num) if scored else None,
        gradients_NG=rng.normal(size=(num, 6)) if scored else None,
    )


def make_by_class(num: int) -> ByClass:
    rng = np.random.default_rng(8)
    shares = rng.dirichlet(np.ones(4), size=num)
    return ByClass(
        entropy_NK=(shares * rng.uniform(size=(num, 1))).round(2),
        shares_NK=shares,
        labelled_shares_K=np.array([0.6, 0.3, 0.1, 0.0]),
    )


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("query_size", [1, 2, 8, NUM])
def test_a_query_has_the_asked_size_and_distinct_candidates(
    name: str, pool: Pool, query_size: int
) -> None:
    ids = [pick.sample_id for pick in query(name, pool, query_size, PARAMS, rng_of())]
    assert len(ids) == len(set(ids)) == query_size
    assert set(ids) <= set(pool.sample_ids)


def test_scores_are_in_range_and_highest_first(name: str, pool: Pool) -> None:
    scores = [pick.score for pick in query(name, pool, 8, PARAMS, rng_of())]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_every_pick_says_why_in_words(name: str, pool: Pool) -> None:
    for pick in query(name, pool, 8, PARAMS, rng_of()):
        assert pick.source in {"strategy", "audit", "cold_start"}
        assert len(pick.reason.split()) >= 2
        assert "\n" not in pick.reason


def test_the_same_seed_gives_the_same_query(name: str, pool: Pool) -> None:
    assert query(name, pool, 8, PARAMS, rng_of(3)) == query(name, pool, 8, PARAMS, rng_of(3))


def test_the_order_of_the_pool_changes_nothing(name: str, pool: Pool) -> None:
    mixed = rng_of(1).permutation(NUM)
    shuffled = Pool(
        sample_ids=tuple(pool.sample_ids[row] for row in mixed),
        embeddings_ND=pool.embeddings_ND[mixed],
        labelled_embeddings_MD=pool.labelled_embeddings_MD[::-1],
        scores={name: values_N[mixed] for name, values_N in pool.scores.items()},
        by_class=None if pool.by_class is None else pool.by_class.rows(mixed),
        gradients_NG=None if pool.gradients_NG is None else pool.gradients_NG[mixed],
    )
    assert query(name, shuffled, 8, PARAMS, rng_of()) == query(name, pool, 8, PARAMS, rng_of())


# power_bald draws with chances that go with the score itself.
@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"power_bald"}))
def test_monotone_transforms_of_the_scores_change_no_pick(name: str) -> None:
    pool = make_pool()
    squared = replace(pool, scores={name: each**2 / 2 for name, each in pool.scores.items()})
    before = query(name, pool, 8, PARAMS, rng_of())
    after = query(name, squared, 8, PARAMS, rng_of())
    assert [pick.sample_id for pick in after] == [pick.sample_id for pick in before]


# These draw the order of classes; their own tests are in test_planted.py.
BY_TURNS = {"clasp_k_center", "clasp_pe", "stratified_random"}


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - BY_TURNS))
def test_the_order_of_classes_changes_nothing(name: str) -> None:
    pool = make_pool()
    assert pool.by_class is not None
    turned = ByClass(
        entropy_NK=pool.by_class.entropy_NK[:, ::-1],
        shares_NK=pool.by_class.shares_NK[:, ::-1],
        labelled_shares_K=pool.by_class.labelled_shares_K[::-1],
    )
    before = query(name, pool, 8, PARAMS, rng_of())
    after = query(name, replace(pool, by_class=turned), 8, PARAMS, rng_of())
    assert [pick.sample_id for pick in after] == [pick.sample_id for pick in before]


def test_identical_images_are_picked_once_each(name: str) -> None:
    for seed in range(10):
        for scored in (True, False):
            pool = make_pool(scored=scored, duplicates=True)
            ids = {pick.sample_id for pick in query(name, pool, 8, PARAMS, rng_of(seed))}
            assert len(ids) == 8


def test_nothing_labelled_is_no_obstacle(name: str) -> None:
    pool = make_pool()
    bare = replace(pool, labelled_embeddings_MD=pool.labelled_embeddings_MD[:0])
    assert len(query(name, bare, 8, PARAMS, rng_of())) == 8


@pytest.mark.parametrize("audit_share", [0.0, 0.5, 1.0])
def test_any_audit_share_fills_the_query(name: str, pool: Pool, audit_share: float) -> None:
    params = AcquireParams(audit_share=audit_share)
    assert len(query(name, pool, 8, params, rng_of())) == 8


@pytest.mark.parametrize("query_size", [0, -1, NUM + 1])
def test_a_query_the_pool_cannot_answer_is_refused(name: str, query_size: int) -> None:
    with pytest.raises(ValueError, match=f"query_size {query_size}: expected 1 to {NUM}"):
        query(name, make_pool(), query_size, PARAMS, rng_of())


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'entropi': unknown; known here: default, badge"):
        strategy("entropi")
