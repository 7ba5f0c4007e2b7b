"""A network over samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline.config.params import ImageParams
from pipeline.data.dataset import ImageStore
from pipeline.data.formats.images import image_size
from pipeline.errors import ConfigError, ModelError
from pipeline.inference.logits import (
    dropout,
    flips,
    pick_device,
    views_of,
)
from pipeline.inference.tiles import BATCH
from pipeline.models import LoadedModel
from pipeline.records.manifest import read_manifest
from tests.support.whole_logits import logits_of, whole

CPU = torch.device("cpu")


def test_every_sample_comes_once_and_in_order_with_its_own_logits(make_workspace) -> None:
    root = make_workspace(BATCH + 3, 0, val=0)
    samples = read_manifest(root / "data/manifest.csv")
    store = ImageStore(root, ImageParams(height_px=32, width_px=32), cache_mib=1)
    model = LoadedModel(torch.nn.Identity(), {"normalisation": "symmetric"})
    found = list(logits_of(model, samples, store, CPU))
    assert [sample for sample, _ in found] == samples
    for sample, logits_KHW in found:
        torch.testing.assert_close(logits_KHW, store.image(sample) / 127.5 - 1)


def test_an_untrained_model_is_refused(make_workspace) -> None:
    root = make_workspace(1, 0)
    store = ImageStore(root, ImageParams(height_px=32, width_px=32), cache_mib=1)
    with pytest.raises(ModelError, match="not trained"):
        next(logits_of(LoadedModel(None, {}), [], store, CPU))


def test_mirrored_and_scaled_views_lie_on_the_image() -> None:
    images_BCHW = torch.rand(2, 3, 128, 192)
    mirrored, *scaled = (view(images_BCHW) for view in flips(torch.nn.Identity()))
    torch.testing.assert_close(mirrored, images_BCHW)
    ramp_BCHW = torch.linspace(0, 1, 192).expand(1, 3, 128, 192)
    for logits_BKHW in (view(ramp_BCHW) for view in flips(torch.nn.Identity())[1:]):
        assert logits_BKHW.shape == ramp_BCHW.shape
        torch.testing.assert_close(logits_BKHW, ramp_BCHW, atol=0.01, rtol=0)
    assert [float(each.std()) < float(images_BCHW.std()) for each in scaled] == [True, True]


def test_mirroring_sees_another_image() -> None:
    shift = torch.nn.Conv2d(3, 3, (1, 3), padding=(0, 1), bias=False)
    images_BCHW = torch.rand(1, 3, 32, 32)
    assert not torch.allclose(shift(images_BCHW), flips(shift)[0](images_BCHW))


def test_dropout_draws_the_same_for_every_image_and_leaves_no_trace() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout2d(0.5), torch.nn.BatchNorm2d(8)).eval()
    image_BCHW = torch.rand(1, 8, 4, 4)
    views = dropout(network)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = [view(image_BCHW.repeat(3, 1, 1, 1)) for view in views]
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in network.modules())
    for logits_BKHW in found:
        assert torch.equal(logits_BKHW[0], logits_BKHW[2])
    assert len({tuple(each[0].flatten().tolist()) for each in found}) > 5
    torch.testing.assert_close(network[1].running_mean, torch.zeros(8))


def test_without_dropout_there_is_nothing_to_draw() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.Dropout(0.0))
    with pytest.raises(ConfigError, match=r"no dropout; use flips or snapshots"):
        dropout(network)


def test_many_views_of_the_same_images(make_workspace) -> None:
    root = make_workspace(3, 0, val=0)
    samples = read_manifest(root / "data/manifest.csv")
    store = ImageStore(root, ImageParams(height_px=32, width_px=32), cache_mib=1)
    network = torch.nn.Identity()
    model = LoadedModel(network, {"normalisation": "symmetric"})
    views = [network, torch.neg, *dropout(torch.nn.Sequential(torch.nn.Dropout(0.5)).eval())]
    found = [(s, whole(bands)) for s, bands in views_of(model, views, samples, store, CPU)]
    assert [sample for sample, _ in found] == samples
    for sample, logits in found:
        assert list(logits) == views
        torch.testing.assert_close(logits[network], store.image(sample) / 127.5 - 1)
        torch.testing.assert_close(logits[torch.neg], -logits[network])


def test_sizes_are_height_and_width(tmp_path: Path) -> None:
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (5, 7)


def test_the_cpu_can_be_picked() -> None:
    assert pick_device("cpu") == CPU
