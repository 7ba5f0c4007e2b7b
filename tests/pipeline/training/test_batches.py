"""The batch of a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline import layout
from pipeline.config import Params
from pipeline.data.datasets import ImageStore
from pipeline.data.manifest import read_manifest
from pipeline.training.batches import Batches, Process
from pipeline.types import IGNORE


@pytest.fixture
def new_batches(make_workspace, tiny_params):
    def make(labelled: int = 3, unlabelled: int = 4, **options: object) -> Batches:
        name = f"w{labelled}-{unlabelled}"
        root = Path(make_workspace(labelled, unlabelled, name=name))
        params: Params = tiny_params()
        samples = read_manifest(root / layout.MANIFEST)
        facts = {
            "store": ImageStore(root, params.image, cache_mib=10),
            "params": params,
            "labelled": [s for s in samples if s.labelled],
            "unlabelled": [s for s in samples if s.unlabelled],
            "num_strong_views": 1,
            "cutmix": True,
            "device": torch.device("cpu"),
        }
        return Batches(**{**facts, **options})

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
    view = unlabelled.strong[0]
    assert sorted(view.partner_B.tolist()) == [0, 1, 2]
    assert (view.partner_B != torch.arange(3)).all()


def assert_same(one, other) -> None:
    flat = zip(
        [one.images_BCHW, one.masks_BHW, *one.unlabelled[:2], *one.unlabelled.strong[0]],
        [other.images_BCHW, other.masks_BHW, *other.unlabelled[:2], *other.unlabelled.strong[0]],
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


def test_mixed_pixels_are_the_partners(new_batches, tiny_params, monkeypatch) -> None:
    monkeypatch.setattr("pipeline.training.batches.strong_view", lambda images, _: images)
    params = tiny_params(method={"cutmix_probability": 1.0})
    unlabelled = new_batches(params=params).at(0).unlabelled
    view = unlabelled.strong[0]
    assert view.mix_BHW.any(dim=(1, 2)).all()
    assert torch.equal(view.images_BCHW, view.mixed(unlabelled.weak_BCHW))
    assert not torch.equal(view.images_BCHW, unlabelled.weak_BCHW)


def test_without_cutmix_nothing_is_mixed(new_batches, tiny_params) -> None:
    params = tiny_params(method={"cutmix_probability": 1.0})
    batch = new_batches(params=params, cutmix=False).at(0)
    assert not batch.unlabelled.strong[0].mix_BHW.any()


def test_processes_draw_different_parts(new_batches) -> None:
    draws = []
    for rank in range(2):
        batches = new_batches(labelled=4, process=Process(rank, 2))
        purpose = 4
        draws += [s.sample_id for s in batches._draw(batches.labelled, purpose, 0, 2)]
    assert len(set(draws)) == 4
