"""Strategies that weigh doubt against kinds of images: planted kinds, known answers."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fidelity.plain_networks import clusters_by_rule
from pipeline.acquisition import query
from pipeline.acquisition.pool import Pool
from pipeline.acquisition.typiclust import typiclust
from tests.pipeline.acquisition.pools import (
    NO_AUDIT,
    clusters,
    ids,
    make_pool,
    rng_of,
    with_classes,
)

TYPICLUST = sys.modules[typiclust.__module__]


def kind(sample_id: str, embeddings: np.ndarray) -> int:
    return int(embeddings[int(sample_id[-4:])].argmax())


def test_typiclust_takes_the_most_typical_of_the_largest_uncovered_cluster() -> None:
    embeddings = clusters([40, 30, 20, 10])
    labelled = np.eye(4)[[0]]
    pool = make_pool(None, embeddings, labelled)
    picks = query("typiclust", pool, 3, NO_AUDIT, rng_of())
    assert {kind(pick.sample_id, embeddings) for pick in picks} == {1, 2, 3}
    first = next(pick for pick in picks if kind(pick.sample_id, embeddings) == 1)
    own = embeddings[40:70]
    gaps = np.sort(np.linalg.norm(own[:, None] - own[None], axis=-1), axis=1)[:, 1:21].mean(1)
    assert int(first.sample_id[-4:]) == 40 + gaps.argmin()
    assert first.reason == "typical of 30 images with 0 label(s)"


def test_typiclust_lets_clusters_of_5_and_fewer_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """By plain loops on planted clusters: one of 4 candidates and 2 labels goes before a new 5."""
    sizes, labels = [9, 4, 5, 7], [0, 2, 0, 1]
    embeddings = clusters(sizes)
    pool = make_pool(None, embeddings, np.eye(4)[[1, 1, 3]])
    monkeypatch.setattr(TYPICLUST, "clusters", lambda points_ND, *_: points_ND.argmax(axis=1))
    picks = typiclust(pool, 25, NO_AUDIT, rng_of())
    expected = clusters_by_rule(sizes, labels)
    assert [kind(pick.sample_id, embeddings) for pick in picks] == expected
    assert expected[20:] == [2] * 5


def test_cluster_margin_takes_one_of_each_group_small_groups_first() -> None:
    embeddings = clusters([30, 10, 20])
    pool = make_pool(None, embeddings)
    # The 30 candidates: the first 10 of each group.
    at = np.r_[np.arange(30), np.arange(10), np.arange(20)]
    pool = replace(pool, scores={"margin": np.where(at < 10, 0.9 - at / 100, 0.1)})
    picks = query("cluster_margin", pool, 3, NO_AUDIT, rng_of())
    # Each is the least sure of its group.
    assert ids(picks) == {"day/0000", "day/0030", "day/0040"}
    sure = np.where(np.arange(60) < 40, 0.0, 1.0)  # the 20 of group 2 fill the candidates
    pool = replace(pool, scores={"margin": sure})
    picks = query("cluster_margin", pool, 2, NO_AUDIT, rng_of())
    assert {kind(pick.sample_id, embeddings) for pick in picks} == {2}


def test_badge_takes_large_gradients_that_are_unlike() -> None:
    gradients = np.concatenate([np.eye(3).repeat(20, axis=0), np.zeros((40, 3))])
    pool = make_pool(None, np.random.default_rng(0).normal(size=(100, 4)))
    pool = replace(pool, gradients_NG=gradients, scores={"entropy": np.full(100, 0.5)})
    for seed in range(20):
        picks = query("badge", pool, 4, NO_AUDIT, rng_of(seed))
        rows = [int(pick.sample_id[-4:]) for pick in picks]
        assert len({min(3, row // 20) for row in rows}) == 4  # one of each kind
    gradients[7] *= 2
    largest = query("badge", replace(pool, gradients_NG=gradients), 1, NO_AUDIT, rng_of())
    assert ids(largest) == {"day/0007"}
    alike = replace(pool, gradients_NG=np.zeros((100, 3)))
    assert len(ids(query("badge", alike, 100, NO_AUDIT, rng_of()))) == 100


def by_class_pool(num: int = 200) -> Pool:
    """Class 2 is doubtful in two images alone, class 0 in all but those."""
    entropy = np.zeros((num, 3))
    entropy[:, 0] = 0.5 + 0.4 * np.arange(num) / num
    entropy[:, 1] = 0.001
    entropy[[17, 91]] = [0.01, 0.001, 0.05]
    pool = make_pool(None, np.random.default_rng(0).normal(size=(num, 4)))
    return with_classes(pool, entropy, np.full((num, 3), 1 / 3), [0.5, 0.4, 0.1])


def test_clasp_gives_every_class_its_turn() -> None:
    pool = replace(by_class_pool(), spent_share=1.0)  # hardly any noise left
    for seed in range(20):
        picks = query("clasp_pe", pool, 9, NO_AUDIT, rng_of(seed))
        # int(.66 * 9) = 5 turns of 3 classes: class 2 has one at least.
        assert ids(picks) & {"day/0017", "day/0091"}
        assert sum("in class" in pick.reason for pick in picks) == 5
        assert sum("over all classes" in pick.reason for pick in picks) == 4


def test_clasp_is_less_random_the_more_is_spent() -> None:
    def mean_place(spent: float) -> float:
        pool = replace(by_class_pool(), spent_share=spent)
        rows = [
            int(pick.sample_id[-4:])
            for seed in range(20)
            for pick in query("clasp_pe", pool, 9, NO_AUDIT, rng_of(seed))
            if "over all" in pick.reason
        ]
        return float(np.mean(rows))

    assert mean_place(0.0) < 150 < 185 < mean_place(1.0) < 200


def test_clasp_k_center_leaves_out_what_is_alike() -> None:
    embeddings = clusters([150, 50])
    nothing = embeddings[:0]
    pool = replace(by_class_pool(), embeddings_ND=embeddings, labelled_embeddings_MD=nothing)
    picks = query("clasp_k_center", pool, 2, NO_AUDIT, rng_of())
    assert {kind(pick.sample_id, embeddings) for pick in picks} == {0, 1}
    assert any("; least like labelled" in pick.reason for pick in picks)


def test_domain_density_prefers_the_new_domain_to_the_old_and_to_outliers() -> None:
    rng = np.random.default_rng(0)
    new, old = np.eye(8)[0], np.eye(8)[1]
    embeddings = np.concatenate(
        [
            new + rng.normal(scale=0.01, size=(40, 8)),
            old + rng.normal(scale=0.01, size=(40, 8)),
            rng.normal(size=(5, 8)),  # alike to nothing
        ]
    )
    pool = make_pool(np.full(85, 0.5), embeddings, labelled=np.repeat(old[None], 10, axis=0))
    picks = query("domain_density", pool, 20, NO_AUDIT, rng_of())
    assert all(int(pick.sample_id[-4:]) < 40 for pick in picks)
    sure = np.r_[np.full(20, 0.1), np.full(65, 0.9)]
    picks = query("domain_density", replace(pool, scores={"entropy": sure}), 10, NO_AUDIT, rng_of())
    assert all(20 <= int(pick.sample_id[-4:]) < 40 for pick in picks)


def test_herding_keeps_the_proportions_of_the_pool_with_what_is_labelled() -> None:
    embeddings = clusters([120, 60, 20])
    counts = np.zeros(3, dtype=int)
    pool = make_pool(None, embeddings, labelled=np.eye(3)[[0]])
    for pick in query("herding", pool, 19, NO_AUDIT, rng_of()):
        counts[kind(pick.sample_id, embeddings)] += 1
    assert counts.tolist() == [11, 6, 2]  # with the label 12, 6 and 2 of 20
    lopsided = make_pool(None, embeddings, labelled=np.repeat(np.eye(3)[[0]], 12, axis=0))
    picks = query("herding", lopsided, 8, NO_AUDIT, rng_of())
    assert sorted(kind(pick.sample_id, embeddings) for pick in picks) == [1] * 6 + [2] * 2


def test_herding_asks_for_one_of_near_duplicates_before_it_asks_twice() -> None:
    pool = make_pool(None, clusters([4] * 6), np.full((1, 6), 9.0))
    picked = ids(query("herding", pool, 6, NO_AUDIT, rng_of()))
    assert len({int(name.split("/")[1]) // 4 for name in picked}) == 6


def test_an_older_domain_neither_attracts_nor_repels_herding() -> None:
    embeddings = np.pad(clusters([40, 20]), ((0, 0), (0, 1)))
    far = np.repeat(np.array([[0.0, 0.0, 9.0]]), 30, axis=0)
    near = np.eye(3)[[0]]
    alone = query("herding", make_pool(None, embeddings, near), 5, NO_AUDIT, rng_of())
    beside = make_pool(None, embeddings, np.concatenate([near, far]))
    assert ids(query("herding", beside, 5, NO_AUDIT, rng_of())) == ids(alone)


@pytest.mark.parametrize("name", ["herding", "typiclust", "domain_density", "clasp_k_center"])
def test_one_candidate_is_enough(name: str) -> None:
    pool = make_pool(np.array([0.5]), np.ones((1, 2)), labelled=np.zeros((1, 2)))
    pool = with_classes(pool, np.array([[0.1, 0.2]]), np.array([[0.5, 0.5]]), [0.5, 0.5])
    assert ids(query(name, pool, 1, NO_AUDIT, rng_of())) == {"day/0000"}
