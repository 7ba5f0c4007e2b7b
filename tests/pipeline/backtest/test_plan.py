"""What every mode shares: start sets, budgets, names of replays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.backtest.plan import Plan, training_seed
from pipeline.config.params import AcquireParams
from pipeline.errors import ConfigError

PLAN = Plan(strategies=("default", "random"), start=3, rounds=2, query_size=2, seeds=2)


def test_labels_are_counted_in_images_or_in_pixels() -> None:
    assert PLAN.labels(num_pool=12) == [3, 5, 7]
    regions = replace(PLAN, start=3, query_size=6, region_px=8)
    assert regions.labels(num_pool=12, num_windows=12) == [25.0, 29.1667, 33.3333]


def test_the_ceiling_has_every_label_from_the_start() -> None:
    ceiling = PLAN.all_labels(12)
    ceiling.check(12)
    assert ceiling.labels(12) == [12]
    assert ceiling.seeds == PLAN.seeds
    assert sorted(ceiling.start_set(12, AcquireParams(), seed=1)) == list(range(12))


def test_a_start_set_hangs_on_the_seed_alone() -> None:
    drawn = [sorted(PLAN.start_set(12, AcquireParams(), seed)) for seed in range(6)]
    assert len({tuple(rows) for rows in drawn}) > 1
    assert all(len(set(rows)) == PLAN.start for rows in drawn)
    other = replace(PLAN, rounds=1, query_size=4, seeds=9, strategies=("entropy",))
    assert sorted(other.start_set(12, AcquireParams(strategy="random"), 0)) == drawn[0]


def test_no_two_trainings_of_a_backtest_share_a_seed() -> None:
    seeds = [training_seed(seed, place) for seed in range(5) for place in range(20)]
    assert len(set(seeds)) == len(seeds)


def test_a_replay_is_kept_under_all_that_it_depends_on() -> None:
    acquire = AcquireParams(strategy="entropy")
    kept = PLAN.replay_name("random", acquire, ["fast"])
    others = [
        replace(PLAN, rounds=3).replay_name("random", acquire, ["fast"]),
        replace(PLAN, region_px=8).replay_name("random", acquire, ["fast"]),
        PLAN.replay_name("entropy", acquire, ["fast"]),
        PLAN.replay_name("random", acquire, ["full"]),
        PLAN.replay_name("random", AcquireParams(seed=1), ["fast"]),
    ]
    assert len({kept, *others}) == len(others) + 1


def test_more_seeds_or_another_default_throw_no_finished_replay_away() -> None:
    entropy, other = AcquireParams(strategy="entropy"), AcquireParams(strategy="k_center")
    kept = PLAN.replay_name("random", entropy, [])
    more = replace(PLAN, seeds=9, strategies=("random", "entropy"))
    assert more.replay_name("random", other, []) == kept
    assert PLAN.replay_name("default", entropy, []) == PLAN.replay_name("entropy", other, [])
    assert PLAN.replay_name("default", other, []) != PLAN.replay_name("default", entropy, [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategies": ("default", "best")}, "'best': unknown"),
        ({"strategies": ("random", "random")}, "named twice"),
        ({"rounds": 5}, "12 images, which leaves 9 images to ask for"),
        ({"start": 13}, "leaves 0 images to ask for"),
        ({"rounds": 40, "region_px": 8}, "leaves 72 regions to ask for"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(PLAN, **changes).check(12, 8 if "region_px" in changes else 1)
