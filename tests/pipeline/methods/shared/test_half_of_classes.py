"""A random half of the classes, block by block."""

from __future__ import annotations

import pytest
import torch

from pipeline.methods.shared.mixing import Rounding, half_of_classes
from pipeline.types import IGNORE

BATCH, NUM_CLASSES, HEIGHT, WIDTH = 3, 6, 7, 10


def classes_of_blocks(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    classes_BHW = torch.randint(NUM_CLASSES, (BATCH, HEIGHT, WIDTH))
    classes_BHW[torch.rand(BATCH, HEIGHT, WIDTH) < 0.2] = IGNORE
    classes_BHW[0] = 4
    return classes_BHW


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("grid", [1, 2, 3])
@pytest.mark.parametrize("rounded", ["down", "up", "random"])
def test_half_of_the_classes_of_each_block_wholly_or_not_at_all(
    seed: int, grid: int, rounded: Rounding
) -> None:
    classes_BHW = classes_of_blocks(seed)
    drawn_BHW = half_of_classes(classes_BHW, NUM_CLASSES, rounded, grid=grid)
    for b in range(BATCH):
        present: dict[tuple[int, int], set[int]] = {}
        drawn: dict[tuple[int, int], set[int]] = {}
        left: dict[tuple[int, int], set[int]] = {}
        for y in range(HEIGHT):
            for x in range(WIDTH):
                block, k = (y * grid // HEIGHT, x * grid // WIDTH), int(classes_BHW[b, y, x])
                side = drawn if drawn_BHW[b, y, x] else left
                side.setdefault(block, set()).add(k)
                if k != IGNORE:
                    present.setdefault(block, set()).add(k)
        for block, classes in present.items():
            chosen = drawn.get(block, set())
            down, up = len(classes) // 2, (len(classes) + 1) // 2
            assert len(chosen) in {"down": {down}, "up": {up}, "random": {down, up}}[rounded]
            assert IGNORE not in chosen
            assert not chosen & left.get(block, set())


def test_every_half_is_drawn_sooner_or_later() -> None:
    classes_BHW = torch.arange(4)[None, :, None].expand(1, 4, 2)
    torch.manual_seed(0)
    halves = {tuple(half_of_classes(classes_BHW, 4)[0, :, 0].tolist()) for _ in range(100)}
    assert len(halves) == 6  # 4 over 2


def test_one_class_is_drawn_only_where_halves_are_rounded_up() -> None:
    classes_BHW = torch.full((200, 1, 1), 2)
    assert not half_of_classes(classes_BHW, NUM_CLASSES).any()
    assert half_of_classes(classes_BHW, NUM_CLASSES, "up").all()
    torch.manual_seed(0)
    share = half_of_classes(classes_BHW, NUM_CLASSES, "random").float().mean().item()
    assert share == pytest.approx(0.5, abs=0.1)


def test_nothing_but_ignore_gives_nothing() -> None:
    nothing_BHW = torch.full((2, 4, 4), IGNORE)
    for rounded in ("up", "random"):
        assert not half_of_classes(nothing_BHW, NUM_CLASSES, rounded, grid=2).any()
