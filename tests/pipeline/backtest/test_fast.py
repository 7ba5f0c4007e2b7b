"""Replays on planted features: what is asked, shared, kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.backtest import fast, head
from pipeline.backtest.features import Features
from pipeline.backtest.labelled_set import Example, LabelledSet
from pipeline.config import AcquireParams
from pipeline.errors import ConfigError

NUM_CELLS, WIDTH = 48, 6
PLAN = fast.Plan(strategies=("default", "random"), start=3, rounds=2, query_size=2, seeds=2)


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
        key="planted",
    )


@pytest.fixture
def bench() -> fast.Bench:
    examples = [Example(name=f"{n:02}", domain="day", image=Path(), mask=Path()) for n in range(14)]
    data = LabelledSet(
        classes=("a", "b", "c"), pool=tuple(examples[:12]), scored=tuple(examples[12:])
    )
    pool, scored = group(12, 0), group(2, 1)
    return fast.Bench(data=data, pool=pool, scored=scored, acquire=AcquireParams(), head_steps=20)


def test_a_head_learns_what_cells_show_and_nothing_from_ignored_ones() -> None:
    own, other = group(4, 0), group(4, 1)
    masks = own.masks_NP.copy()
    masks[:, ::2] = 255
    learned = head.fit(own.cells_NPD, masks, 3, seed=0)
    assert head.miou(learned, other.cells_NPD, other.masks_NP, 3) > 0.95
    ignored = head.fit(own.cells_NPD, np.full_like(masks, 255), 3, seed=0)
    before = [p.clone() for p in ignored.parameters()]
    again = head.fit(own.cells_NPD, np.full_like(masks, 255), 3, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(before, again.parameters(), strict=True))


def test_uncertainty_by_hand() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, cells: torch.Tensor) -> torch.Tensor:
            return cells.log()

    probs = np.array([[[0.5, 0.5], [1.0, 1e-7], [0.9, 0.1], [0.9, 0.1]]]).astype(np.float16)
    found = head.score(Fixed(), probs, top_share=0.25)
    assert found.entropy_N == pytest.approx([1.0], abs=1e-3)
    nine = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    expected = [(0.5 + 2 * 0.9 * nine) / 4, (0.5 + 2 * 0.1 * nine) / 4]
    assert found.class_entropy_NK[0] == pytest.approx(expected, abs=2e-3)
    assert found.class_shares_NK[0] == pytest.approx([3.3 / 4, 0.7 / 4], abs=2e-3)


def test_strategies_of_a_seed_share_the_start(bench: fast.Bench) -> None:
    first = {name: bench.replay(name, PLAN, seed=0) for name in ("default", "random", "entropy")}
    assert len({values[0] for values in first.values()}) == 1
    assert all(len(values) == len(PLAN.labels) for values in first.values())
    starts = [set(bench.start_set(PLAN, seed).tolist()) for seed in range(4)]
    assert len({frozenset(start) for start in starts}) > 1
    assert PLAN.labels == [3, 5, 7]


def test_the_same_replay_is_the_same(bench: fast.Bench) -> None:
    assert bench.replay("default", PLAN, seed=1) == bench.replay("default", PLAN, seed=1)


def test_default_is_what_acquire_says(bench: fast.Bench) -> None:
    other = fast.Bench(
        data=bench.data,
        pool=bench.pool,
        scored=bench.scored,
        acquire=AcquireParams(strategy="random"),
        head_steps=20,
    )
    assert other.replay("default", PLAN, seed=0) == bench.replay("random", PLAN, seed=0)


def test_finished_replays_are_kept_and_not_repeated(bench: fast.Bench, tmp_path: Path) -> None:
    found = fast.run(bench, PLAN, tmp_path)
    assert {name: len(curves) for name, curves in found.items()} == {"default": 2, "random": 2}
    files = sorted(tmp_path.glob("default-*-seed-1.json"))
    assert len(files) == 1
    files[0].write_text(json.dumps([0.5, 0.6, 0.7]))
    for other in tmp_path.glob("random-*"):
        other.unlink()  # as if stopped before it was written
    again = fast.run(bench, PLAN, tmp_path)
    assert again["default"][1] == [0.5, 0.6, 0.7]
    assert again["random"] == found["random"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategies": ("default", "best")}, "'best': unknown"),
        ({"strategies": ("random", "random")}, "named twice"),
        ({"rounds": 5}, "are 13 images; the pool has 12"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes, said: str) -> None:
    shape = {"strategies": ("default",), "start": 3, "rounds": 2, "query_size": 2, "seeds": 2}
    with pytest.raises(ConfigError, match=said):
        fast.check(fast.Plan(**{**shape, **changes}), num_pool=12)
