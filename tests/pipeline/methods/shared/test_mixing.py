"""Mixing rules: pixels and what is said about them move together."""

from __future__ import annotations

import pytest
import torch

from pipeline.config.params import MethodParams
from pipeline.methods.fixmatch import FixMatch
from pipeline.methods.shared.base import drawn
from pipeline.methods.shared.mixing import MIXES, Mix, partners
from pipeline.methods.shared.protocol import StrongView
from pipeline.types import IGNORE
from tests.support.tiny_network import tiny_setup, unlabelled_batch

BATCH, NUM_CLASSES, SIZE = 3, 5, (12, 16)


def view_and_pseudo() -> tuple[StrongView, torch.Tensor]:
    """Images whose pixels say where they are from; blocks of classes; a box in two of three."""
    torch.manual_seed(0)
    pseudo_BHW = torch.randint(NUM_CLASSES, (BATCH, 4, 4)).repeat_interleave(3, 1)
    pseudo_BHW = pseudo_BHW.repeat_interleave(4, 2)
    boxes_BHW = torch.zeros(BATCH, *SIZE, dtype=torch.bool)
    boxes_BHW[:2, 2:8, 3:9] = True
    images_BCHW = torch.arange(1.0, BATCH + 1)[:, None, None, None].expand(-1, 3, *SIZE)
    return StrongView(images_BCHW, boxes_BHW), pseudo_BHW


@pytest.mark.parametrize("name", MIXES)
def test_what_is_said_moves_with_the_pixels(name: str) -> None:
    view, pseudo_BHW = view_and_pseudo()
    mix = MIXES[name](view, pseudo_BHW, NUM_CLASSES)
    mixed_BHW = mix.images(view.images_BCHW)[:, 0]
    valid_BHW = mix.valid(torch.ones(BATCH, *SIZE, dtype=torch.bool))
    moved_BHW = mix.moved(pseudo_BHW)
    for b in range(BATCH):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                source = int(mixed_BHW[b, y, x]) - 1
                assert (source >= 0) == bool(valid_BHW[b, y, x])
                if source >= 0:
                    assert source in (b, (b - 1) % BATCH)
                    assert moved_BHW[b, y, x] == pseudo_BHW[source, y, x]


def test_cutmix_takes_the_partner_inside_the_box() -> None:
    view, pseudo_BHW = view_and_pseudo()
    mixed_BCHW = MIXES["cutmix"](view, pseudo_BHW, NUM_CLASSES).images(view.images_BCHW)
    assert set(mixed_BCHW[0, :, 2:8, 3:9].unique().tolist()) == {3.0}
    assert (mixed_BCHW[0] == 3).sum() == 3 * 6 * 6
    assert (mixed_BCHW[2] == 3).all()  # no box


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_no_image_is_its_own_partner(batch: int) -> None:
    own = torch.arange(batch)
    assert (partners(own) != own).all()
    assert sorted(partners(own).tolist()) == own.tolist()


def test_nothing_is_learnt_where_nothing_is_left_to_see() -> None:
    erased_BHW = torch.zeros(2, 2, 2, dtype=torch.bool)
    erased_BHW[0, 0] = True
    mix = Mix(torch.zeros_like(erased_BHW), erased_BHW)
    assert mix.images(torch.ones(2, 3, 2, 2))[0, :, 0].eq(0).all()
    assert mix.valid(torch.ones(2, 2, 2, dtype=torch.bool)).sum() == 6


def test_one_of_several_rules_is_drawn_with_torchs_seed() -> None:
    torch.manual_seed(0)
    rules = [drawn(("none", "cutmix"), MIXES) for _ in range(20)]
    assert {rule.__name__ for rule in rules} == {"no_mix", "cutmix"}
    torch.manual_seed(0)
    assert rules == [drawn(("none", "cutmix"), MIXES) for _ in range(20)]


def test_no_name_is_no_mix() -> None:
    setup = tiny_setup(MethodParams(mixes=[]))
    assert FixMatch(setup).mix_names == ("none",)


def test_cutout_erases_the_box_and_takes_nothing_from_the_partner() -> None:
    view, pseudo_BHW = view_and_pseudo()
    mix = MIXES["cutout"](view, pseudo_BHW, NUM_CLASSES)
    valid_BHW = mix.valid(torch.ones(BATCH, *SIZE, dtype=torch.bool))
    mixed_BHW = mix.images(view.images_BCHW)[:, 0]
    for b in range(BATCH):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                erased = bool(view.boxes_BHW[b, y, x])
                assert bool(valid_BHW[b, y, x]) != erased
                assert mixed_BHW[b, y, x] == (0 if erased else b + 1)


def pasted_and_left(
    foreign_HW: torch.Tensor, partner_HW: torch.Tensor, grid: int
) -> dict[tuple[int, int], tuple[set[int], set[int]]]:
    """For each block the partner's classes that were pasted, and those that were not."""
    found: dict[tuple[int, int], tuple[set[int], set[int]]] = {}
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            block = (y * grid // SIZE[0], x * grid // SIZE[1])
            sides = found.setdefault(block, (set(), set()))
            sides[0 if foreign_HW[y, x] else 1].add(int(partner_HW[y, x]))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_classmix_pastes_half_of_the_partners_classes(seed: int) -> None:
    view, pseudo_BHW = view_and_pseudo()
    torch.manual_seed(seed)
    mix = MIXES["classmix"](view, pseudo_BHW, NUM_CLASSES)
    assert not mix.erased_BHW.any()
    for b in range(2):
        partner_HW = pseudo_BHW[b - 1]
        ((pasted, left),) = pasted_and_left(mix.foreign_BHW[b], partner_HW, grid=1).values()
        assert len(pasted) == len(partner_HW.unique()) // 2
        assert not pasted & left
    assert not mix.foreign_BHW[2].any()  # not drawn to be mixed


@pytest.mark.parametrize("seed", range(5))
def test_complexmix_is_classmix_in_each_block(seed: int) -> None:
    view, pseudo_BHW = view_and_pseudo()
    torch.manual_seed(seed)
    grid = int(torch.randint(2, 9, ()))
    torch.manual_seed(seed)
    mix = MIXES["complexmix"](view, pseudo_BHW, NUM_CLASSES)
    assert mix.foreign_BHW[:2].any()
    for b in range(2):
        for pasted, left in pasted_and_left(mix.foreign_BHW[b], pseudo_BHW[b - 1], grid).values():
            assert not pasted & left
            assert abs(len(pasted) - len(left)) <= 1
    assert not mix.foreign_BHW[2].any()


@pytest.mark.parametrize("name", ["classmix", "complexmix"])
def test_padding_is_never_pasted(name: str) -> None:
    view, pseudo_BHW = view_and_pseudo()
    pseudo_BHW[:, 6:] = IGNORE
    mix = MIXES[name](view, pseudo_BHW, NUM_CLASSES)
    assert mix.foreign_BHW[:, :6].any()
    assert not mix.foreign_BHW[:, 6:].any()
    assert not MIXES[name](view, torch.full_like(pseudo_BHW, IGNORE), NUM_CLASSES).foreign_BHW.any()


def test_what_the_teacher_says_about_padding_is_no_class_to_paste() -> None:
    torch.manual_seed(0)
    params = MethodParams(mixes=["classmix"])
    method, unlabelled = FixMatch(tiny_setup(params)), unlabelled_batch(3, 8, 10).unlabelled
    assert unlabelled is not None
    valid_BHW = torch.ones(3, 8, 10, dtype=torch.bool)
    valid_BHW[:, 6:] = False
    pseudo_BHW = torch.randint(NUM_CLASSES, (3, 8, 10))
    mix = method.mix(unlabelled._replace(valid_BHW=valid_BHW), pseudo_BHW)
    assert mix.foreign_BHW[:, :6].any()
    assert not mix.foreign_BHW[:, 6:].any()
