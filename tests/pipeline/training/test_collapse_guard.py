"""The guard against collapse."""

from __future__ import annotations

from pipeline.training.monitor import Guard


def points(*mious: float | None) -> list[dict[str, object]]:
    return [{"step": 10 * place, "miou": miou} for place, miou in enumerate(mious, start=1)]


def acts(guard: Guard, *mious: float | None) -> list[bool]:
    return [guard.trips(point) for point in points(*mious)]


def test_it_acts_at_the_third_look_below_the_best() -> None:
    guard = Guard(1.0)
    assert acts(guard, 0.3, 0.5, 0.46, 0.46, 0.46, 0.46) == [False] * 4 + [True, False]
    assert guard.events == [{"step": 50, "weight": 0.5}]


def test_a_fall_of_3_points_or_a_recovery_between_is_no_collapse() -> None:
    assert not any(acts(Guard(1.0), 0.5, 0.471, 0.471, 0.471, 0.471))
    assert not any(acts(Guard(1.0), 0.5, 0.4, 0.4, 0.48, 0.4, 0.4))


def test_it_acts_again_when_nothing_gets_better() -> None:
    guard = Guard(2.0)
    acts(guard, 0.5, *[0.1] * 7)
    assert guard.events == [{"step": 40, "weight": 1.0}, {"step": 70, "weight": 0.5}]


def test_what_is_not_measurable_counts_for_nothing() -> None:
    assert acts(Guard(1.0), 0.5, None, 0.1, None, 0.1, 0.1) == [False] * 5 + [True]


def test_without_a_weight_there_is_nothing_to_guard() -> None:
    assert not any(acts(Guard(0.0), 0.5, *[0.1] * 9))


def test_the_points_of_a_checkpoint_put_it_where_it_was() -> None:
    mious = [0.5, *[0.1] * 7]
    whole = Guard(1.0)
    acts(whole, *mious)
    for cut in range(len(mious)):
        resumed = Guard(1.0, points(*mious)[:cut])
        for point in points(*mious)[cut:]:
            resumed.trips(point)
        assert (resumed.events, resumed.best) == (whole.events, whole.best)
