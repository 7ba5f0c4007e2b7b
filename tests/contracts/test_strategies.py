"""Every row of STRATEGIES keeps the protocol's promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.acquisition import STRATEGIES, Strategy, strategy
from pipeline.acquisition.pool import ByClass, Pool
from pipeline.config import AcquireParams
from pipeline.errors import ConfigError

PARAMS = AcquireParams(prefilter=3)
NUM = 40


@pytest.fixture(params=sorted(STRATEGIES))
def choose(request: pytest.FixtureRequest) -> Strategy:
    return STRATEGIES[request.param]


@pytest.fixture(params=[True, False], ids=["scores", "no_scores"])
def pool(request: pytest.FixtureRequest) -> Pool:
    return make_pool(scored=request.param)


def make_pool(*, scored: bool = True, num: int = NUM, duplicates: bool = False) -> Pool:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(num, 5))
    return Pool(
        sample_ids=tuple(f"day/{place:03d}" for place in range(num)),
        scores_N=rng.uniform(size=num).round(1) if scored else None,  # rounded: many ties
        embeddings_ND=np.ones((num, 5)) if duplicates else vectors,
        labelled_embeddings_MD=rng.normal(size=(3, 5)),
        by_class=make_by_class(num) if scored else None,
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
    choose: Strategy, pool: Pool, query_size: int
) -> None:
    ids = [pick.sample_id for pick in choose(pool, query_size, PARAMS, rng_of())]
    assert len(ids) == len(set(ids)) == query_size
    assert set(ids) <= set(pool.sample_ids)


def test_scores_are_in_range_and_highest_first(choose: Strategy, pool: Pool) -> None:
    scores = [pick.score for pick in choose(pool, 8, PARAMS, rng_of())]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_every_pick_says_why_in_words(choose: Strategy, pool: Pool) -> None:
    for pick in choose(pool, 8, PARAMS, rng_of()):
        assert pick.source in {"strategy", "audit", "cold_start"}
        assert len(pick.reason.split()) >= 2
        assert "\n" not in pick.reason


def test_the_same_seed_gives_the_same_query(choose: Strategy, pool: Pool) -> None:
    assert choose(pool, 8, PARAMS, rng_of(3)) == choose(pool, 8, PARAMS, rng_of(3))


def test_the_order_of_the_pool_changes_nothing(choose: Strategy, pool: Pool) -> None:
    mixed = rng_of(1).permutation(NUM)
    shuffled = Pool(
        sample_ids=tuple(pool.sample_ids[row] for row in mixed),
        scores_N=None if pool.scores_N is None else pool.scores_N[mixed],
        embeddings_ND=pool.embeddings_ND[mixed],
        labelled_embeddings_MD=pool.labelled_embeddings_MD[::-1],
        by_class=None if pool.by_class is None else pool.by_class.rows(mixed),
    )
    assert choose(shuffled, 8, PARAMS, rng_of()) == choose(pool, 8, PARAMS, rng_of())


def test_monotone_transforms_of_the_scores_change_no_pick(choose: Strategy) -> None:
    pool = make_pool()
    assert pool.scores_N is not None
    squared = Pool(
        sample_ids=pool.sample_ids,
        scores_N=pool.scores_N**2 / 2,
        embeddings_ND=pool.embeddings_ND,
        labelled_embeddings_MD=pool.labelled_embeddings_MD,
        by_class=pool.by_class,
    )
    before = choose(pool, 8, PARAMS, rng_of())
    after = choose(squared, 8, PARAMS, rng_of())
    assert [pick.sample_id for pick in after] == [pick.sample_id for pick in before]


# stratified_random draws the order of classes; its own test is in test_planted.py.
@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"stratified_random"}))
def test_the_order_of_classes_changes_nothing(name: str) -> None:
    choose = STRATEGIES[name]
    pool = make_pool()
    assert pool.by_class is not None
    turned = ByClass(
        entropy_NK=pool.by_class.entropy_NK[:, ::-1],
        shares_NK=pool.by_class.shares_NK[:, ::-1],
        labelled_shares_K=pool.by_class.labelled_shares_K[::-1],
    )
    before = choose(pool, 8, PARAMS, rng_of())
    after = choose(replace(pool, by_class=turned), 8, PARAMS, rng_of())
    assert [pick.sample_id for pick in after] == [pick.sample_id for pick in before]


def test_identical_images_are_picked_once_each(choose: Strategy) -> None:
    for seed in range(10):
        for scored in (True, False):
            pool = make_pool(scored=scored, duplicates=True)
            ids = {pick.sample_id for pick in choose(pool, 8, PARAMS, rng_of(seed))}
            assert len(ids) == 8


def test_nothing_labelled_is_no_obstacle(choose: Strategy) -> None:
    pool = make_pool()
    bare = Pool(
        sample_ids=pool.sample_ids,
        scores_N=pool.scores_N,
        embeddings_ND=pool.embeddings_ND,
        labelled_embeddings_MD=pool.labelled_embeddings_MD[:0],
        by_class=pool.by_class,
    )
    assert len(choose(bare, 8, PARAMS, rng_of())) == 8


@pytest.mark.parametrize("audit_share", [0.0, 0.5, 1.0])
def test_any_audit_share_fills_the_query(choose: Strategy, pool: Pool, audit_share: float) -> None:
    params = AcquireParams(audit_share=audit_share)
    assert len(choose(pool, 8, params, rng_of())) == 8


@pytest.mark.parametrize("query_size", [0, -1, NUM + 1])
def test_a_query_the_pool_cannot_answer_is_refused(choose: Strategy, query_size: int) -> None:
    with pytest.raises(ValueError, match=f"query_size {query_size}: expected 1 to {NUM}"):
        choose(make_pool(), query_size, PARAMS, rng_of())


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'entropi': unknown; known here: class_weighted"):
        strategy("entropi")
