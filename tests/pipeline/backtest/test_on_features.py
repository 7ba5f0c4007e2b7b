"""Replays on planted features: what is asked, shared, kept."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.acquisition import STRATEGIES
from pipeline.backtest import on_features
from pipeline.backtest.plan import Plan, Point
from pipeline.campaign import annotation_time
from pipeline.campaign.acts import Acts
from pipeline.config.params import AcquireParams
from pipeline.data.labelled_folder import Example, LabelledSet
from pipeline.probe import head
from pipeline.probe.features import Features
from pipeline.probe.windows import windows_of

NUM_CELLS, WIDTH = 48, 6  # 6 x 8 cells
SIZE = (24, 32)
PLAN = Plan(strategies=("default", "random"), start=3, rounds=2, query_size=2, seeds=2)


def group(num: int, seed: int) -> Features:
    """Three classes that a plane tells apart, in shares of their own in each image."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 3, size=(num, NUM_CELLS)).astype(np.uint8)
    cells = np.eye(WIDTH)[masks] * 3 + rng.normal(scale=0.4, size=(num, NUM_CELLS, WIDTH))
    rows = rng.normal(size=(num, 4))
    embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Features(
        cells_NPD=cells.astype(np.float16),
        masks_NP=masks,
        embeddings_NE=embeddings.astype(np.float32),
        mean_C=np.zeros(WIDTH, np.float32),
        projection_CD=np.eye(WIDTH, dtype=np.float32),
        key="planted",
    )


@pytest.fixture
def bench() -> on_features.FeatureBench:
    examples = [Example(name=f"{n:02}", domain="day", image=Path(), mask=Path()) for n in range(14)]
    data = LabelledSet(
        classes=("a", "b", "c"), pool=tuple(examples[:12]), scored=tuple(examples[12:])
    )
    pool, scored = group(12, 0), group(2, 1)
    return on_features.FeatureBench(
        data=data,
        pool=pool,
        scored=scored,
        acquire=AcquireParams(),
        windows=windows_of(SIZE, None),
        head_steps=20,
    )


@pytest.mark.heavy
def test_a_head_learns_what_cells_show_and_nothing_without_any() -> None:
    own, other = group(4, 0), group(4, 1)
    cells, classes = own.cells_NPD.reshape(-1, WIDTH), own.masks_NP.reshape(-1)
    learned = head.fit(cells, classes, 3, seed=0)
    assert head.miou(learned, other.cells_NPD, other.masks_NP, 3) > 0.95
    untaught = [head.fit(cells[:0], classes[:0], 3, seed=0) for _ in range(2)]
    pairs = zip(*(network.parameters() for network in untaught), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_regions_cut_an_image_evenly() -> None:
    windows = windows_of((24, 32), 12)  # 6 x 8 cells of 4 pixels into 2 x 3 windows
    assert windows.count == 6
    sizes = np.bincount(windows.window_P)
    assert sizes.sum() == NUM_CELLS
    assert sizes.max() - sizes.min() <= 3
    values = np.arange(NUM_CELLS, dtype=float)[None]
    expected = [values[0, windows.window_P == window].mean() for window in range(6)]
    assert windows.means(values)[0] == pytest.approx(expected)
    assert windows.means(values[..., None])[0, :, 0] == pytest.approx(expected)
    grid = windows.window_P.reshape(6, 8)
    assert (grid[:, 1:] >= grid[:, :-1]).all()
    assert (grid[1:] >= grid[:-1]).all()
    assert windows_of((24, 32), 1000).count == 1


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_regions_are_asked_for_and_learnt_from(bench: on_features.FeatureBench, name: str) -> None:
    plan = replace(PLAN, strategies=(name,), start=1, query_size=3, region_px=8)
    regions = replace(bench, windows=windows_of(SIZE, 8))
    start = regions.start_set(plan, seed=0)
    assert start.sum(axis=1).tolist().count(12) == 1  # 3 x 4 windows of one image, whole
    network = regions.train(start, 0, 0).network
    asked = regions._asked(network, name, plan, start, seed=0)
    assert asked.sum() == 3
    assert not (asked & start).any()
    cells, classes = regions._known(asked)
    assert len(cells) == len(classes) == 3 * 4
    assert len(regions.replay(name, plan, seed=0)) == 3


def test_strategies_of_a_seed_share_the_start(bench: on_features.FeatureBench) -> None:
    first = {name: bench.replay(name, PLAN, seed=0) for name in ("default", "random", "entropy")}
    assert len({points[0].miou for points in first.values()}) == 1
    assert all(len(values) == PLAN.rounds + 1 for values in first.values())
    starts = [bench.start_set(PLAN, seed) for seed in range(4)]
    assert {int(start.sum()) for start in starts} == {3}
    assert len({start.tobytes() for start in starts}) > 1


def test_acts_are_counted_as_people_give_them(bench: on_features.FeatureBench) -> None:
    plan = replace(PLAN, strategies=("random",), start=2, query_size=3)
    points = bench.replay("random", plan, seed=0)
    assert [point.share for point in points] == pytest.approx([2 / 12, 5 / 12, 8 / 12])
    assert points[0].acts == Acts(whole_minutes=2 * annotation_time.PRIOR.base)
    assert points[1].acts.whole_minutes > points[0].acts.whole_minutes
    regions = replace(bench, windows=windows_of(SIZE, 8))
    points = regions.replay("random", replace(plan, region_px=8), seed=0)
    added = points[1].acts
    assert added.regions == 3
    assert 1 <= added.looks <= 3
    assert added.whole_minutes == points[0].acts.whole_minutes


def test_the_same_replay_is_the_same(bench: on_features.FeatureBench) -> None:
    assert bench.replay("default", PLAN, seed=1) == bench.replay("default", PLAN, seed=1)


def test_default_is_what_acquire_says(bench: on_features.FeatureBench) -> None:
    other = on_features.FeatureBench(
        data=bench.data,
        pool=bench.pool,
        scored=bench.scored,
        acquire=AcquireParams(strategy="random"),
        windows=bench.windows,
        head_steps=20,
    )
    assert other.replay("default", PLAN, seed=0) == bench.replay("random", PLAN, seed=0)


@pytest.mark.programs
def test_finished_replays_are_kept_and_not_repeated(
    bench: on_features.FeatureBench, tmp_path: Path
) -> None:
    found = on_features.run(bench, PLAN, tmp_path)
    assert {name: len(curves) for name, curves in found.items()} == {"default": 2, "random": 2}
    files = sorted(tmp_path.glob("herding-*-1.json"))
    assert len(files) == 1
    other_points = [Point(miou=miou, share=0.5, acts=Acts(looks=2)) for miou in (0.5, 0.6, 0.7)]
    files[0].write_text(json.dumps([asdict(point) for point in other_points]))
    for other in tmp_path.glob("random-*"):
        other.unlink()  # as if stopped before it was written
    again = on_features.run(bench, PLAN, tmp_path)
    assert again["default"][1] == other_points
    assert again["random"] == found["random"]
