"""What a probe's encoder said, from disk: the same, once, bounded, and never of something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import layout
from pipeline.config.params import ImageParams, ModelParams
from pipeline.inference.kept_features import KeptFeatures
from pipeline.inference.tiles import TilePlace
from pipeline.models import build_model
from pipeline.models.probe import Probe
from pipeline.records.manifest import Sample
from tests.support.model_variants import DINOV2_S, SMALL_VIT

SAMPLE = Sample(
    sample_id="day/a",
    domain="day",
    split="pool",
    image="data/day/images/a.png",
    image_sha256="ab" * 32,
    mask="",
    mask_sha256="",
    origin="",
)
PLACE = TilePlace(SAMPLE, 0, 0)


@pytest.fixture
def network() -> Probe:
    return new_probe()


def new_probe(seed: int = 0) -> Probe:
    torch.manual_seed(seed)
    network = build_model(ModelParams(name="probe", encoder="tu-test_efficientnet"), 3)
    assert isinstance(network, Probe)
    return network.eval()


def kept(root: Path, network: Probe, limit_gib: float = 1.0, height_px: int = 64) -> KeptFeatures:
    image = ImageParams(height_px=height_px, width_px=64, scale=1.0)
    return KeptFeatures(root, network, image, "imagenet", limit_gib)


def files(root: Path) -> list[Path]:
    return sorted((root / layout.FEATURES).rglob("*.npy"))


def test_the_encoder_sees_a_tile_once(
    tmp_path: Path, network: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    images_BCHW = torch.rand(2, 3, 64, 64)
    places = [PLACE, TilePlace(SAMPLE, 0, 32)]
    first = kept(tmp_path, network).cells(places, images_BCHW)
    torch.testing.assert_close(first, network.cells(images_BCHW).half().float())
    monkeypatch.setattr(network, "cells", None)
    assert torch.equal(kept(tmp_path, network).cells(places, images_BCHW), first)


def test_what_is_kept_and_what_is_not_come_in_the_order_of_the_tiles(
    tmp_path: Path, network: Probe
) -> None:
    images_BCHW = torch.rand(3, 3, 64, 64)
    places = [TilePlace(SAMPLE, 0, left) for left in (0, 32, 64)]
    kept(tmp_path, network).cells(places[1:2], images_BCHW[1:2])
    found = kept(tmp_path, network).cells(places, images_BCHW)
    torch.testing.assert_close(found, network.cells(images_BCHW), atol=0.02, rtol=0.01)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array at all"])
def test_a_damaged_file_is_made_again(tmp_path: Path, network: Probe, damage: bytes) -> None:
    images_BCHW = torch.rand(1, 3, 64, 64)
    first = kept(tmp_path, network).cells([PLACE], images_BCHW)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert torch.equal(kept(tmp_path, network).cells([PLACE], images_BCHW), first)
    assert file.read_bytes() == whole


def test_an_array_of_another_shape_is_made_again(tmp_path: Path, network: Probe) -> None:
    images_BCHW = torch.rand(1, 3, 64, 64)
    first = kept(tmp_path, network).cells([PLACE], images_BCHW)
    (file,) = files(tmp_path)
    np.save(file, np.zeros((1, 2, 3), np.float16))
    assert torch.equal(kept(tmp_path, network).cells([PLACE], images_BCHW), first)


def test_another_encoder_or_size_is_another_file(tmp_path: Path, network: Probe) -> None:
    images_BCHW = torch.rand(1, 3, 64, 64)
    kept(tmp_path, network).cells([PLACE], images_BCHW)
    kept(tmp_path, new_probe(seed=1)).cells([PLACE], images_BCHW)
    kept(tmp_path, network, height_px=96).cells([PLACE], images_BCHW)
    assert len(files(tmp_path)) == 3
    kept(tmp_path, network).drop_others()
    assert len(files(tmp_path)) == 1


def test_other_components_are_another_file(tmp_path: Path, network: Probe) -> None:
    images_BCHW = torch.rand(1, 3, 64, 64)
    kept(tmp_path, network).cells([PLACE], images_BCHW)
    network.decoder.mean_C += 1
    kept(tmp_path, network).cells([PLACE], images_BCHW)
    assert len(files(tmp_path)) == 2


def test_the_same_weights_in_other_layers_are_another_file(tmp_path: Path) -> None:
    """DINOv2's own positions and antialiased ones: equal weights, unequal features."""
    for antialias in (False, True):
        torch.manual_seed(0)
        options = {"antialias": antialias, "components": 4}
        encoder = {"encoder": DINOV2_S, "encoder_options": {**SMALL_VIT, "img_size": 98}}
        network = build_model(ModelParams(name="probe", options=options, **encoder), 3)
        assert isinstance(network, Probe)
        kept(tmp_path, network.eval()).cells([PLACE], torch.ones(1, 3, 64, 64))
    first, second = map(np.load, files(tmp_path))
    assert (first != second).any()


def test_a_head_that_learnt_more_finds_the_same_file(tmp_path: Path, network: Probe) -> None:
    images_BCHW = torch.rand(1, 3, 64, 64)
    kept(tmp_path, network).cells([PLACE], images_BCHW)
    torch.nn.init.zeros_(network.head.layer.weight)
    kept(tmp_path, network).cells([PLACE], images_BCHW)
    assert len(files(tmp_path)) == 1


def test_no_more_is_written_than_the_limit(tmp_path: Path, network: Probe) -> None:
    one_gib = 16 * 16 * network.decoder.projection_CD.shape[1] * 2 / 2**30
    images_BCHW = torch.rand(1, 3, 64, 64)
    for limit, expected in ((1.5, 1), (1.5, 1), (2.5, 2)):
        here = kept(tmp_path, network, limit_gib=limit * one_gib)
        for left in (0, 32, 64):
            here.cells([TilePlace(SAMPLE, 0, left)], images_BCHW)
        assert sum(file.stat().st_size for file in files(tmp_path)) < limit * 2**30 * one_gib * 1.1
        assert len(files(tmp_path)) == expected


def test_a_full_disk_costs_time_and_no_training(
    tmp_path: Path,
    network: Probe,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images_BCHW = torch.rand(2, 3, 64, 64)
    places = [PLACE, TilePlace(SAMPLE, 0, 32)]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    here = kept(tmp_path, network)
    monkeypatch.setattr(np, "save", full)
    found = here.cells(places, images_BCHW)
    torch.testing.assert_close(found, network.cells(images_BCHW).half().float())
    assert not files(tmp_path)
    said = capsys.readouterr().err
    assert said.count("No space left on device") == said.count("no more features are kept") == 1
