"""The batch of a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training.batches import Batches, Process, WholeSet
from pipeline.training.class_balance import RareClasses
from pipeline.types import IGNORE
from tests.pipeline.training.whole_set import batches_of


@pytest.fixture
def new_batches(make_workspace, tiny_params):
    def make(labelled: int = 3, unlabelled: int = 4, **options: object) -> Batches:
        name = f"w{labelled}-{unlabelled}"
        root = Path(make_workspace(labelled, unlabelled, name=name))
        return batches_of(root, tiny_params(), **options)

    return make


def test_shapes_and_values(new_batches) -> None:
    images_BCHW, masks_BHW, unlabelled = new_batches().at(0)
    assert images_BCHW.shape == (2, 3, 64, 64)
    assert images_BCHW.dtype == torch.float32
    assert masks_BHW.dtype == torch.int64
    assert set(masks_BHW.unique().tolist()) <= {0, 1, IGNORE}
    assert unlabelled.weak_BCHW.shape == (3, 3, 64, 64)
    assert unlabelled.valid_BHW.dtype == torch.bool
    assert len(unlabelled.strong) == 1
    assert unlabelled.strong[0].images_BCHW.shape == unlabelled.weak_BCHW.shape
    assert unlabelled.strong[0].boxes_BHW.shape == unlabelled.valid_BHW.shape
    assert len(set(unlabelled.index_B.tolist())) == 3


def assert_same(one, other) -> None:
    flat = zip(
        [one.images_BCHW, one.masks_BHW, *one.unlabelled[:3], *one.unlabelled.strong[0]],
        [other.images_BCHW, other.masks_BHW, *other.unlabelled[:3], *other.unlabelled.strong[0]],
        strict=True,
    )
    assert all(torch.equal(mine, yours) for mine, yours in flat)


def test_a_step_is_the_same_wherever_one_starts(new_batches) -> None:
    batches = new_batches()
    before = [batches.at(step) for step in range(3)]
    assert_same(batches.at(2), before[2])
    assert not torch.equal(before[0].images_BCHW, before[1].images_BCHW)


def test_one_image_looks_different_at_every_step(new_batches) -> None:
    batches = new_batches(labelled=1, unlabelled=1)
    one, two = batches.at(0), batches.at(1)
    assert not torch.equal(one.images_BCHW[0], two.images_BCHW[0])
    assert not torch.equal(one.unlabelled.weak_BCHW[0], two.unlabelled.weak_BCHW[0])


def test_labelled_images_do_not_hang_on_the_unlabelled(new_batches) -> None:
    alone = new_batches(num_strong_views=0).at(1)
    assert alone.unlabelled is None
    assert torch.equal(alone.images_BCHW, new_batches().at(1).images_BCHW)


def test_without_unlabelled_images_there_are_none(new_batches) -> None:
    assert new_batches(unlabelled=0).at(0).unlabelled is None


def test_one_labelled_image_fills_a_batch(new_batches) -> None:
    assert new_batches(labelled=1).at(0).images_BCHW.shape[0] == 2


def test_every_image_has_its_box_or_none(new_batches, tiny_params) -> None:
    for probability in (0.0, 1.0):
        params = tiny_params(method={"mix_probability": probability})
        (view,) = new_batches(params=params).at(0).unlabelled.strong
        assert view.boxes_BHW.any(dim=(1, 2)).tolist() == [probability == 1.0] * 3


def test_without_strong_colour_the_views_are_alike(new_batches, tiny_params) -> None:
    for colour in (True, False):
        params = tiny_params(method={"strong_colour": colour})
        unlabelled = new_batches(params=params).at(0).unlabelled
        (view,) = unlabelled.strong
        assert torch.equal(view.images_BCHW, unlabelled.weak_BCHW) != colour


def test_a_share_of_the_labelled_images_is_in_strong_colours(new_batches, tiny_params) -> None:
    plain, half, all_of_them = (
        [
            new_batches(params=tiny_params(train={"labelled_colours": share})).at(step)
            for step in range(6)
        ]
        for share in (0.0, 0.5, 1.0)
    )
    changed = [
        (one.images_BCHW != other.images_BCHW).flatten(1).any(1)
        for one, other in zip(plain, half, strict=True)
    ]
    assert 0.2 < torch.cat(changed).float().mean() < 0.6  # strong colours leave some as they are
    for one, other in zip(plain, all_of_them, strict=True):
        assert torch.equal(one.masks_BHW, other.masks_BHW)
        assert (one.images_BCHW != other.images_BCHW).any()
        assert torch.equal(one.unlabelled.weak_BCHW, other.unlabelled.weak_BCHW)


def test_the_methods_colours_change_the_strong_views_alone(new_batches) -> None:
    jittered = new_batches().at(0)
    other = new_batches(strong_colour="random_intensity").at(0)
    assert torch.equal(jittered.images_BCHW, other.images_BCHW)
    assert torch.equal(jittered.unlabelled.weak_BCHW, other.unlabelled.weak_BCHW)
    views = [each.unlabelled.strong[0].images_BCHW for each in (jittered, other)]
    assert not torch.equal(*views)


def test_the_index_says_which_image_it_is(new_batches) -> None:
    batches = new_batches(unlabelled=4)
    seen = [batches.at(step).unlabelled.index_B for step in range(4)]
    assert torch.cat(seen).bincount().tolist() == [3, 3, 3, 3]


def test_the_whole_set_comes_in_order(new_batches) -> None:
    batches = new_batches(unlabelled=5)
    whole = WholeSet(
        store=batches.store,
        params=batches.params,
        samples=batches.unlabelled,
        device=batches.device,
    )
    parts = list(whole.batches())
    assert torch.cat([index for index, _ in parts]).tolist() == list(range(len(whole)))
    assert [len(images) for _, images in parts] == [3, 2]


def test_rare_classes_are_drawn_from_seed_and_step_alone(new_batches) -> None:
    # Of 4 images only the last has class 2, the rarest.
    counts_NK = torch.tensor([[90, 10, 0], [90, 10, 0], [90, 10, 0], [88, 10, 2]])
    batches = new_batches(labelled=4, rare_classes=RareClasses(counts_NK))
    drawn = [batches._labelled_places(step) for step in range(200)]
    assert [batches._labelled_places(step) for step in (199, 7)] == [drawn[199], drawn[7]]
    flat = [place for places in drawn for place in places]
    assert flat.count(3) > 1.5 * len(flat) / 4
    assert torch.equal(batches.at(3).images_BCHW, batches.at(3).images_BCHW)
    parts = [
        new_batches(labelled=4, rare_classes=batches.rare_classes, process=Process(rank, 2))
        for rank in range(2)
    ]
    assert [part._labelled_places(0) for part in parts] == drawn[:2]


def test_processes_draw_different_parts(new_batches) -> None:
    draws = []
    for rank in range(2):
        batches = new_batches(labelled=4, process=Process(rank, 2))
        purpose = 4
        draws += batches._places(batches.labelled, purpose, batches._turns(0, 2), None)
    assert len(set(draws)) == 4
