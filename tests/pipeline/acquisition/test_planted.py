"""Planted scores and planted clusters: what each strategy must pick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.acquisition import query
from pipeline.acquisition.pool import Pool
from pipeline.acquisition.strategies import SCORES
from pipeline.config.params import AcquireParams
from pipeline.errors import ConfigError, DataError
from tests.pipeline.acquisition.pools import (
    NO_AUDIT,
    clusters,
    falling,
    ids,
    make_pool,
    planted,
    rng_of,
    with_classes,
)

BY_ONE_SCORE = {
    "bald": "bald",
    "disagreement": "disagreement",
    "entropy": "entropy",
    "margin": "margin",
    "st_reliability": "instability",
}


@pytest.mark.parametrize(("name", "score"), BY_ONE_SCORE.items())
def test_one_score_picks_literally_the_top(name: str, score: str) -> None:
    pool = planted()
    other = pool.scores["entropy"][::-1]  # what the strategy must not look at
    scores = dict.fromkeys(SCORES, other) | {score: pool.scores["entropy"]}
    picks = query(name, replace(pool, scores=scores), 10, NO_AUDIT, rng_of())
    assert [pick.score for pick in picks] == [0.999 - place / 1000 for place in range(10)]
    assert {pick.source for pick in picks} == {"strategy"}
    assert picks[3].reason == f"uncertain ({score} 1.00, top 4 of 1000)"


def test_power_draws_in_proportion_to_the_score() -> None:
    pool = make_pool(None, np.zeros((3, 2)))
    pool = replace(pool, scores={"bald": np.array([0.1, 0.3, 0.6])})
    counts = np.zeros(3)
    for seed in range(2000):
        (pick,) = query("power_bald", pool, 1, NO_AUDIT, rng_of(seed))
        counts[int(pick.sample_id[-4:])] += 1
    # Binomial(2000, p): standard deviation 22 at most; five of them.
    assert np.abs(counts - [200, 600, 1200]).max() < 110


def test_a_score_that_the_model_did_not_give_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match=r"'bald': needs bald, which the trained model did not"):
        query("bald", planted(), 4, NO_AUDIT, rng_of())


def test_audit_picks_share_the_scores_of_the_others() -> None:
    params = AcquireParams(audit_share=0.5)
    above = []
    for seed in range(60):
        picks = query("entropy", planted(), 10, params, rng_of(seed))
        scores = {pick.score for pick in picks if pick.source == "strategy"}
        assert {pick.score for pick in picks if pick.source == "audit"} <= scores
        above.append([pick.source for pick in picks].index("audit"))
    assert 0 < np.mean(above) < 5  # neither always first nor always last


def test_entropy_breaks_ties_by_id() -> None:
    pool = make_pool(np.array([0.5, 0.7, 0.7, 0.5, 0.7]), np.zeros((5, 2)))
    picks = query("entropy", pool, 4, NO_AUDIT, rng_of())
    assert [pick.sample_id for pick in picks] == ["day/0001", "day/0002", "day/0004", "day/0000"]


def test_random_ignores_scores_and_is_uniform() -> None:
    pool = planted(20)
    counts = dict.fromkeys(pool.sample_ids, 0)
    for seed in range(1000):
        for pick in query("random", pool, 5, AcquireParams(), rng_of(seed)):
            counts[pick.sample_id] += 1
    # Binomial(1000, 1/4): standard deviation 13.7; five of them.
    assert all(abs(count - 250) < 70 for count in counts.values())


def test_random_marks_the_audit_share() -> None:
    picks = query("random", planted(), 10, AcquireParams(audit_share=0.2), rng_of())
    assert len(ids(picks, "audit")) == 2
    assert len(ids(picks, "strategy")) == 8


def test_entropy_k_center_stays_among_the_most_uncertain() -> None:
    params = AcquireParams(audit_share=0.2, prefilter=2)
    picks = query("entropy_k_center", planted(), 10, params, rng_of())
    audit = [pick for pick in picks if pick.source == "audit"]
    chosen = [pick for pick in picks if pick.source == "strategy"]
    assert len(audit) == 2
    assert {pick.reason for pick in audit} == {"random audit pick"}
    # The 20 most uncertain, and as many places more as the audit may have taken of them.
    assert min(pick.score for pick in chosen) >= (1000 - 22) / 1000


def test_entropy_k_center_takes_one_of_each_cluster_before_a_second() -> None:
    embeddings = clusters([30, 10, 10, 10])
    scores = falling(60)  # the largest cluster is the most uncertain
    picks = query("entropy_k_center", make_pool(scores, embeddings), 4, NO_AUDIT, rng_of())
    found = {int(embeddings[int(pick.sample_id[-4:])].argmax()) for pick in picks}
    assert found == {0, 1, 2, 3}
    by_entropy = query("entropy", make_pool(scores, embeddings), 4, NO_AUDIT, rng_of())
    assert {int(embeddings[int(pick.sample_id[-4:])].argmax()) for pick in by_entropy} == {0}


def test_entropy_k_center_keeps_away_from_what_is_labelled() -> None:
    embeddings = clusters([20, 20, 20])
    labelled = np.eye(3)[[0, 1]]
    scores = falling(60)
    picks = query(
        "entropy_k_center", make_pool(scores, embeddings, labelled), 1, NO_AUDIT, rng_of()
    )
    assert int(embeddings[int(picks[0].sample_id[-4:])].argmax()) == 2
    row = int(picks[0].sample_id[-4:])
    distance = np.linalg.norm(embeddings[row] - labelled, axis=1).min()
    assert picks[0].reason.endswith(
        f"; least like labelled and picked images (distance {distance:.2f})"
    )


def test_entropy_k_center_with_nothing_labelled_starts_at_the_most_uncertain() -> None:
    pool = planted()
    picks = query("entropy_k_center", pool, 1, NO_AUDIT, rng_of())
    assert picks[0].score == 0.999
    assert picks[0].reason == "uncertain (entropy 1.00, top 1 of 1000)"


def test_entropy_k_center_keeps_away_from_its_audit_picks() -> None:
    embeddings = np.repeat(np.eye(4), 2, axis=0)  # four pairs of identical images
    pool = make_pool(np.full(8, 0.5), embeddings)
    for seed in range(20):
        params = AcquireParams(audit_share=0.25, prefilter=8)
        picks = query("entropy_k_center", pool, 4, params, rng_of(seed))
        assert len({int(pick.sample_id[-4:]) // 2 for pick in picks}) == 4


def test_the_audit_is_uniform_over_all_candidates() -> None:
    pool = planted(20)
    counts = dict.fromkeys(pool.sample_ids, 0)
    for seed in range(1000):
        for name in ids(
            query("entropy_k_center", pool, 10, AcquireParams(), rng_of(seed)), "audit"
        ):
            counts[name] += 1
    # 2 of 20: Binomial(1000, 1/10), standard deviation 9.5; the most uncertain as often as any.
    assert all(abs(count - 100) < 48 for count in counts.values())


@pytest.mark.parametrize(
    ("audit_share", "query_size", "expected"),
    [(0.2, 8, 2), (0.2, 4, 1), (0.01, 2, 1), (0.2, 1, 0), (0.0, 8, 0), (0.9, 2, 1), (1.0, 2, 2)],
)
def test_size_of_the_audit(audit_share: float, query_size: int, expected: int) -> None:
    params = AcquireParams(audit_share=audit_share)
    picks = query("entropy_k_center", planted(), query_size, params, rng_of())
    assert len(ids(picks, "audit")) == expected


def test_cold_start_takes_one_medoid_of_each_cluster_largest_first() -> None:
    embeddings = clusters([30, 20, 10])
    picks = query("entropy", make_pool(None, embeddings), 3, NO_AUDIT, rng_of())
    rows = [int(pick.sample_id[-4:]) for pick in picks]
    assert [int(embeddings[row].argmax()) for row in rows] == [0, 1, 2]
    centre = embeddings[:30].mean(axis=0)
    assert rows[0] == np.linalg.norm(embeddings[:30] - centre, axis=1).argmin()
    assert [pick.reason for pick in picks] == [
        f"cold start: typical of {size} of 60 images" for size in (30, 20, 10)
    ]
    assert [pick.score for pick in picks] == [30 / 60, 20 / 60, 10 / 60]
    assert {pick.source for pick in picks} == {"cold_start"}


def test_cold_start_has_its_audit_share() -> None:
    picks = query("entropy", make_pool(None, clusters([30, 20, 10])), 5, AcquireParams(), rng_of())
    assert len(ids(picks, "audit")) == 1
    assert len(ids(picks, "cold_start")) == 4


def test_strategies_on_scores_start_cold_without_them() -> None:
    pool = make_pool(None, clusters([30, 20, 10]))
    cold = query("entropy", pool, 5, AcquireParams(), rng_of())
    assert query("entropy", pool, 5, AcquireParams(), rng_of()) == cold
    assert query("entropy_k_center", pool, 5, AcquireParams(), rng_of()) == cold
    assert ids(query("random", pool, 5, AcquireParams(), rng_of()), "cold_start") == set()


def test_a_pool_that_does_not_fit_together_is_refused() -> None:
    vectors = np.zeros((2, 3))
    with pytest.raises(DataError, match=r"named twice: \['day/a'\]"):
        Pool(
            sample_ids=("day/a", "day/a"),
            embeddings_ND=vectors,
            labelled_embeddings_MD=vectors,
        )
    with pytest.raises(DataError, match=r"shape \(3, 3\): expected 2 rows"):
        Pool(
            sample_ids=("a", "b"),
            embeddings_ND=np.zeros((3, 3)),
            labelled_embeddings_MD=vectors,
        )
    with pytest.raises(DataError, match="expected rows of 3 finite values"):
        make_pool(None, vectors, np.zeros((1, 4)))
    with pytest.raises(DataError, match="all finite"):
        make_pool(None, np.full((2, 3), np.nan))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_scores_out_of_range_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match=r"expected 2 values in \[0, 1\]"):
        make_pool(np.array([0.5, bad]), np.zeros((2, 3)))


def two_classes(labelled: list[float]) -> Pool:
    """Doubt about class 0 rises with the row, about class 1 it falls, and is a tenth of that."""
    rising = np.arange(50) / 50
    entropy = np.stack([rising, 0.1 * (1 - rising)], axis=1)
    pool = make_pool(rising, np.random.default_rng(0).normal(size=(50, 3)))
    return with_classes(pool, entropy, np.full((50, 2), 0.5), labelled)


def test_doubt_counts_by_what_the_labels_lack() -> None:
    even = query("class_weighted_entropy", two_classes([0.5, 0.5]), 5, NO_AUDIT, rng_of())
    assert [pick.sample_id for pick in even] == [f"day/{row:04d}" for row in range(49, 44, -1)]
    rare = query("class_weighted_entropy", two_classes([0.95, 0.05]), 5, NO_AUDIT, rng_of())
    assert [pick.sample_id for pick in rare] == [f"day/{row:04d}" for row in range(5)]
    assert rare[0].score == pytest.approx(0.1)
    assert rare[0].reason == "uncertain about class 1, 5.0% of the labels so far"


def test_a_class_nobody_has_labelled_weighs_no_more_than_the_least_share() -> None:
    pool = two_classes([1.0, 0.0])
    picks = query("class_weighted_entropy", pool, 5, NO_AUDIT, rng_of())
    assert [pick.sample_id for pick in picks] == [f"day/{row:04d}" for row in range(5)]
    assert all(0 <= pick.score <= 1 for pick in picks)


def test_k_center_alone_takes_the_farthest() -> None:
    points = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [0.7, 0.7], [-1.0, 0.0]])
    pool = make_pool(None, points, labelled=np.array([[0.0, 1.0]]))
    picks = query("k_center", pool, 2, NO_AUDIT, rng_of())
    assert ids(picks) == {"day/0002", "day/0004"}
    assert {pick.source for pick in picks} == {"strategy"}
    assert ids(query("k_center", make_pool(None, points), 2, NO_AUDIT, rng_of()), "cold_start")


def test_stratified_random_gives_every_class_its_turn() -> None:
    # Class 2 shows in 2 images of 200, which uniform draws would miss nearly always.
    shares = np.tile([0.7, 0.3, 0.0], (200, 1))
    shares[[17, 91]] = [0.5, 0.2, 0.3]
    pool = make_pool(np.zeros(200), np.random.default_rng(0).normal(size=(200, 3)))
    pool = with_classes(pool, np.zeros((200, 3)), shares, [0.5, 0.5, 0.0])
    for seed in range(20):
        chosen = ids(query("stratified_random", pool, 6, NO_AUDIT, rng_of(seed)))
        assert chosen >= {"day/0017", "day/0091"}
    drawn = [ids(query("stratified_random", pool, 6, NO_AUDIT, rng_of(seed))) for seed in range(20)]
    assert len({frozenset(each) for each in drawn}) == 20


def test_shares_and_doubt_out_of_range_are_refused() -> None:
    pool = two_classes([0.5, 0.5])
    assert pool.by_class is not None
    for wrong in (pool.by_class.entropy_NK + 1, pool.by_class.entropy_NK * np.nan):
        with pytest.raises(DataError, match=r"entropy_NK of shape \(50, 2\): expected"):
            with_classes(pool, wrong, np.full((50, 2), 0.5), [0.5, 0.5])
    with pytest.raises(DataError, match="shares_NK"):
        with_classes(pool, pool.by_class.entropy_NK, np.full((49, 2), 0.5), [0.5, 0.5])
