"""Planted embeddings: the same distribution, moved ones, videos cut in blocks, a single image."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.shift import two_sample
from pipeline.shift.time_blocks import run_length, runs_of
from pipeline.shift.two_sample import Group

WIDTH = 12


def photos(num: int, seed: int, moved: float = 0.0) -> np.ndarray:
    """Drawn one by one; `moved` along one direction, in standard deviations."""
    rows = np.random.default_rng(seed).normal(size=(num, WIDTH))
    rows[:, 0] += moved
    return (0.05 * rows).astype(np.float32)


def video(num: int, seed: int, scene: int = 20) -> np.ndarray:
    """Scenes of `scene` frames that hardly change."""
    rng = np.random.default_rng(seed)
    scenes = rng.normal(size=(-(-num // scene), WIDTH)).repeat(scene, axis=0)[:num]
    return (scenes + 0.1 * rng.normal(size=scenes.shape)).astype(np.float32)


def group(rows: np.ndarray, length: int = 1) -> Group:
    return Group(embeddings_NE=rows, run_N=runs_of(len(rows), length))


def test_the_same_distribution_is_no_shift_and_a_moved_one_is() -> None:
    one, same, moved = (
        group(rows) for rows in (photos(80, 1), photos(60, 101), photos(60, 2, moved=4.0))
    )
    assert two_sample.p_value(one, same) > 0.05
    assert two_sample.p_value(one, moved) < 0.01
    value, low, high = two_sample.proxy_a_distance(one, same) or (9.0, 9.0, 9.0)
    assert low <= value <= high
    assert value < 0.5
    value, low, high = two_sample.proxy_a_distance(one, moved) or (0.0, 0.0, 0.0)
    assert 1.5 < low <= value <= high <= 2
    usual, far = two_sample.novelty(one, same), two_sample.novelty(one, moved)
    assert usual is not None
    assert far is not None
    assert 0.9 < usual < 1.1 < far


def test_scenes_of_one_video_dealt_out_are_no_shift_though_each_frame_tells() -> None:
    frames = video(320, 3)
    scene = np.arange(320) // 20
    one, other = frames[scene % 2 == 0], frames[scene % 2 == 1]
    assert two_sample.p_value(group(one, 20), group(other, 20)) > 0.05
    # Frame by frame the same images would be called a shift: that is what runs are for.
    assert two_sample.p_value(group(one), group(other)) < 0.05
    apart = two_sample.proxy_a_distance(group(one, 20), group(other, 20))
    assert apart is not None
    assert apart[0] < 1


def test_runs_last_as_long_as_neighbours_look_alike() -> None:
    assert run_length([photos(80, 0), photos(60, 1)]) == 1
    assert run_length([video(200, 0), photos(60, 1)]) in (10, 20)
    assert run_length([video(200, 0), photos(7, 1)]) == 7
    assert run_length([photos(80, 0), photos(1, 1)]) == 1
    assert run_length([np.zeros((5, WIDTH), np.float32), photos(5, 1)]) == 1


def test_a_rest_of_a_few_images_joins_the_last_run() -> None:
    assert np.bincount(runs_of(62, 20)).tolist() == [20, 20, 22]
    assert np.bincount(runs_of(55, 20)).tolist() == [20, 20, 15]
    assert runs_of(3, 20).tolist() == [0, 0, 0]


def test_a_single_image_is_told_by_how_far_it_lies() -> None:
    one = group(photos(80, 0))
    assert two_sample.p_value(one, group(photos(1, 5, moved=9.0))) < 0.05
    assert two_sample.p_value(one, group(photos(80, 0)[:1])) > 0.05
    assert two_sample.proxy_a_distance(one, group(photos(1, 5))) is None
    assert two_sample.novelty(group(photos(1, 0)), one) is None


def test_a_p_value_is_uniform_when_nothing_moved() -> None:
    found = [
        two_sample.p_value(group(photos(15, 2 * seed)), group(photos(15, 2 * seed + 1)))
        for seed in range(40)
    ]
    assert np.mean(np.array(found) <= 0.2) == pytest.approx(0.2, abs=0.15)
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_an_interval_is_wide_where_runs_are_few() -> None:
    near = two_sample.proxy_a_distance(group(photos(40, 0)), group(photos(40, 1, moved=9.0)))
    few = two_sample.proxy_a_distance(
        group(photos(40, 0), length=10), group(photos(40, 1, moved=9.0), length=10)
    )
    assert near is not None
    assert few is not None
    assert near[0] == few[0] == 2
    assert few[1] < near[1] < 2


def test_frechet_distance_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(20_000, 2)), rng.normal(size=(20_000, 2)) * [1, 3] + [2, 0]
    # (2 - 0)^2 between the means, (1 - 3)^2 between the standard deviations
    assert two_sample.frechet_distance(one, other) == pytest.approx(8, rel=0.05)
    assert two_sample.frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
