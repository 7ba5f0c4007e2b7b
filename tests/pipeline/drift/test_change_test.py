"""The detector on planted streams: quiet without a change, soon heard with one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.drift.change_test import BETS_E, ChangeDetector


def alarms(p_values: np.ndarray, *, every: float = 1000, window: int = 1) -> list[int]:
    detector = ChangeDetector(false_alarm_every=every, window=window)
    rows_MS = p_values.reshape(len(p_values), -1)
    return [alarm.raised_at for p_S in rows_MS if (alarm := detector.add(p_S)) is not None]


def test_each_bet_is_fair() -> None:
    p = (np.arange(200_000) + 0.5) / 200_000
    means = [(bet * p ** (bet - 1)).mean() for bet in BETS_E]
    assert np.all(np.array(means) <= 1)
    assert means[-1] == pytest.approx(1, abs=0.01)


def test_the_suspicion_by_hand() -> None:
    detector = ChangeDetector(false_alarm_every=1000, window=2)
    for p in (0.01, 0.5):
        detector.add([p])
    first = np.sqrt(BETS_E * 0.01 ** (BETS_E - 1))
    expected = (1 + first) * np.sqrt(BETS_E * 0.5 ** (BETS_E - 1))
    assert detector.suspicion == pytest.approx(expected.mean())


def test_one_bet_that_is_right_is_enough() -> None:
    """The alarm is where the mean of the bets, none of them cut off, reaches the threshold."""
    p_values = np.full(60, 0.02)
    sums_E, expected = np.zeros(len(BETS_E)), None
    for index, p in enumerate(p_values):
        sums_E = (1 + sums_E) * BETS_E * p ** (BETS_E - 1)
        if sums_E.mean() >= 1000:
            expected = index
            break
    assert alarms(p_values) == [expected]


@pytest.mark.parametrize("window", [1, 2])
def test_false_alarms_are_rarer_than_the_bound(window: int) -> None:
    """Within n images at most n / A of the streams: here 30 %, and the truth is less."""
    rng = np.random.default_rng(0)
    noisy = sum(bool(alarms(rng.random(150), every=500, window=window)) for _ in range(200))
    assert noisy <= 0.3 * 200


def test_frames_that_repeat_each_other_are_no_suspicion_where_the_window_says_so() -> None:
    rng = np.random.default_rng(0)
    streams = [np.repeat(rng.random(40), 4) for _ in range(100)]
    noisy = [sum(bool(alarms(p, every=500, window=w)) for p in streams) for w in (1, 4)]
    assert noisy[1] <= 0.32 * 100
    assert noisy[0] > 3 * noisy[1]


def test_a_shift_is_heard_soon_and_its_beginning_found() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        stream = np.concatenate([rng.random(200), rng.uniform(0.005, 0.03, 20)])
        detector = ChangeDetector(false_alarm_every=10_000, window=1)
        (alarm,) = [found for p in stream if (found := detector.add([p]))]
        assert alarm.raised_at < 210 + 2
        assert abs(alarm.since - 200) <= 10


def test_one_alarm_per_shift_and_another_after_it_was_over() -> None:
    quiet, shifted = np.full(60, 0.6), np.full(40, 0.01)
    assert len(alarms(np.concatenate([quiet, shifted]))) == 1
    assert len(alarms(np.concatenate([quiet, np.full(1000, 1e-9)]))) == 1
    twice = alarms(np.concatenate([quiet, shifted, quiet, shifted]))
    assert len(twice) == 2
    assert twice[1] >= 160


def test_scales_by_hand() -> None:
    """Each scale adds up by itself; the suspicion is the mean over scales and bets."""
    detector = ChangeDetector(false_alarm_every=1000, window=1)
    for p_S in ([0.01, 0.3, 1.0], [0.5, 0.02, 1.0]):
        detector.add(p_S)
    expected = [
        (1 + BETS_E * first ** (BETS_E - 1)) * BETS_E * second ** (BETS_E - 1)
        for first, second in ((0.01, 0.5), (0.3, 0.02), (1.0, 1.0))
    ]
    assert detector.suspicion == pytest.approx(np.mean(expected))


def test_one_scale_that_is_right_is_enough_and_says_since_when() -> None:
    rng = np.random.default_rng(0)
    p_MS = rng.random((220, 5))
    p_MS[200:, 3] = rng.uniform(0.005, 0.03, 20)
    detector = ChangeDetector(false_alarm_every=10_000, window=1)
    (alarm,) = [found for p_S in p_MS if (found := detector.add(p_S))]
    assert alarm.raised_at < 214
    assert abs(alarm.since - 200) <= 3


@pytest.mark.parametrize("alike", [True, False])
def test_false_alarms_are_rarer_than_the_bound_however_scales_depend(alike: bool) -> None:
    """As above: at most 30 % of the streams, with equal scales and with independent ones."""
    rng = np.random.default_rng(0)
    streams = [np.tile(p, 5) if alike else p for p in rng.random((200, 150, 1 if alike else 5))]
    noisy = sum(bool(alarms(p_MS, every=500)) for p_MS in streams)
    assert noisy <= 0.3 * 200


def test_a_small_p_at_all_scales_is_no_more_than_at_one() -> None:
    """Products over the scales would count one odd image five times."""
    odd = np.full(20, 0.02)
    assert alarms(np.tile(odd[:, None], 5)) == alarms(odd)


@pytest.mark.parametrize(
    "p_S", [[0.0], [-0.1], [0.5, 1.01], [0.5, float("nan")], [], [[0.5, 0.5]], 0.5]
)
def test_numbers_that_are_no_p_values_are_refused(p_S: list[float]) -> None:
    detector = ChangeDetector(false_alarm_every=100, window=1)
    with pytest.raises(ValueError, match=r"expected a number in \(0, 1\] per scale"):
        detector.add(p_S)
    assert detector.position == 0


def test_another_number_of_scales_is_refused() -> None:
    detector = ChangeDetector(false_alarm_every=100, window=1)
    detector.add([0.5, 0.5])
    for p_S in ([0.5], [0.5, 0.5, 0.5]):
        with pytest.raises(ValueError, match=f"{len(p_S)} p-values: expected 2, as before"):
            detector.add(p_S)
