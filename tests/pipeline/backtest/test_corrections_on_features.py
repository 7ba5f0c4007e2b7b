"""Replays by corrections on planted features: what is labelled, counted, and left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.backtest.corrections_on_features import Corrected, CorrectionBench
from pipeline.backtest.plan import Plan
from pipeline.campaign.acts import Acts
from pipeline.config.params import AcquireParams
from pipeline.data.labelled_folder import Example, LabelledSet
from pipeline.probe import head
from pipeline.probe.features import Features
from pipeline.probe.windows import windows_of
from pipeline.types import IGNORE

WIDTH, SIZE, CELLS = 6, (24, 32), (6, 8)
PLAN = Plan(strategies=("default",), start=3, rounds=2, query_size=3, seeds=1, corrections=2)


def group(num: int, seed: int) -> Features:
    """Three classes in upright stripes of four cells, which features tell apart."""
    rng = np.random.default_rng(seed)
    masks = np.repeat(rng.integers(0, 3, (num, 1, 2)), 4, axis=2).repeat(6, axis=1)
    masks = masks.reshape(num, -1).astype(np.uint8)
    cells = np.eye(WIDTH)[masks] * 3 + rng.normal(scale=0.4, size=(*masks.shape, WIDTH))
    rows = rng.normal(size=(num, 4))
    return Features(
        cells_NPD=cells.astype(np.float16),
        masks_NP=masks,
        embeddings_NE=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
        mean_C=np.zeros(WIDTH, np.float32),
        projection_CD=np.eye(WIDTH, dtype=np.float32),
        key="planted",
    )


@pytest.fixture
def bench() -> CorrectionBench:
    examples = [Example(name=f"{n:02}", domain="day", image=Path(), mask=Path()) for n in range(14)]
    data = LabelledSet(
        classes=("a", "b", "c"), pool=tuple(examples[:12]), scored=tuple(examples[12:])
    )
    return CorrectionBench(
        data=data,
        pool=group(12, 0),
        scored=group(2, 1),
        acquire=AcquireParams(audit_share=0.0),
        windows=windows_of(SIZE, None),
        head_steps=20,
    )


def nothing(bench: CorrectionBench) -> Corrected:
    shape = bench.pool.masks_NP.shape
    return Corrected(
        given_NP=np.full(shape, IGNORE, np.uint8),
        shown_NP=np.full(shape, IGNORE, np.uint8),
        spread_NP=np.full(shape, IGNORE, np.uint8),
        confidence_NP=np.zeros(shape, np.float16),
    )


def constant(index: int) -> head.HeadWithPast:
    """A head that says one class everywhere."""
    network = head.HeadWithPast.of_size(WIDTH, 3).eval()
    network.classes.weight.data.zero_()
    network.classes.bias.data = torch.tensor([5.0 * (each == index) for each in range(3)])
    return network


def test_only_what_is_wrong_is_labelled_and_with_its_true_class(bench: CorrectionBench) -> None:
    so_far = nothing(bench)
    asked = dict.fromkeys(range(12), "strategy")
    bench.correct(so_far, asked, constant(0), PLAN)
    truth = bench.pool.masks_NP
    given = so_far.given_NP != IGNORE
    assert (so_far.shown_NP == 0).all()
    assert (so_far.given_NP[given] == truth[given]).all()
    assert (truth[given] != 0).all()
    stripes = truth.reshape(12, 6, 8)[:, 0, [0, 4]]
    areas = [len(set(row.tolist()) - {0}) for row in stripes]  # equal stripes are one area
    assert given.sum() == sum(areas)
    assert so_far.acts == Acts(looks=12, clicks=sum(areas))


def test_audit_images_are_painted_whole(bench: CorrectionBench) -> None:
    so_far = nothing(bench)
    bench.correct(so_far, {0: "audit", 1: "strategy"}, constant(0), PLAN)
    assert (so_far.given_NP[0] == bench.pool.masks_NP[0]).all()
    assert (so_far.given_NP[1] != IGNORE).sum() <= PLAN.corrections
    assert so_far.acts.looks == 1
    assert so_far.acts.whole_minutes > 0


def test_what_is_left_alone_teaches_only_by_its_weight(bench: CorrectionBench) -> None:
    so_far = nothing(bench)
    bench.correct(so_far, dict.fromkeys(range(12), "strategy"), constant(0), PLAN)
    alone = bench.learnt(so_far, seed=0, place=0)
    assert not (head.classes_of(alone.network, bench.pool.cells_NPD) == 0).any()  # nobody said 0
    told = replace(bench, uncorrected_weight=0.05, head_steps=200).learnt(so_far, 0, 0)
    assert (head.classes_of(told.network, bench.pool.cells_NPD) == 0).any()


def test_corrections_are_spread_in_corrected_images_alone(bench: CorrectionBench) -> None:
    spreading = replace(bench, spread_weight=0.2)
    so_far = nothing(bench)
    scored = bench.scored.masks_NP.copy()
    spreading.correct(so_far, {4: "strategy", 5: "audit"}, constant(0), PLAN)
    spread = so_far.spread_NP != IGNORE
    assert set(np.flatnonzero(spread.any(axis=1)).tolist()) == {4}
    assert (so_far.spread_NP[spread] == bench.pool.masks_NP[spread]).mean() > 0.9
    assert spread.sum() > 5 * (so_far.given_NP[4] != IGNORE).sum()
    assert so_far.acts.clicks <= 2  # nobody is paid for it
    assert (bench.scored.masks_NP == scored).all()


def test_a_replay_counts_clicks_and_asks_for_each_image_once(bench: CorrectionBench) -> None:
    points = bench.replay("default", PLAN, seed=0)
    assert len(points) == 3
    assert [point.acts.looks for point in points] == [3, 6, 9]
    for point in points:
        assert point.share == pytest.approx(point.acts.clicks / (12 * 48))
        assert point.acts.clicks <= 2 * point.acts.looks
    assert points == bench.replay("default", PLAN, seed=0)
    strokes = replace(bench, act="stroke").replay("default", PLAN, seed=0)
    assert strokes[-1].acts.clicks == 0
    assert strokes[-1].share > points[-1].share


def test_confident_errors_are_learnt_once_there_are_corrections(bench: CorrectionBench) -> None:
    so_far = nothing(bench)
    assert bench._learner(so_far, seed=0) is None
    stroke = replace(bench, act="stroke")
    stroke.correct(so_far, dict.fromkeys(range(8), "strategy"), constant(0), PLAN)
    learner = stroke._learner(so_far, seed=0)
    assert learner is not None
    scores = replace(stroke, learner=learner).more_scores(constant(0), np.arange(8, 12))
    values = scores["sure_and_wrong"][:, 0]
    wrong = (bench.pool.masks_NP[8:] != 0).mean(axis=1)
    assert values[wrong > 0].min() > values[wrong == 0].max(initial=0)
