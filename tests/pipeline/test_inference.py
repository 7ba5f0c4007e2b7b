"""A network over samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline.config import ImageParams
from pipeline.data.datasets import ImageStore
from pipeline.data.manifest import read_manifest
from pipeline.errors import ModelError
from pipeline.inference import BATCH, image_size, logits_of, pick_device, resize_logits
from pipeline.models import LoadedModel

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


def test_pixels_are_areas_when_logits_are_resized() -> None:
    logits_KHW = torch.tensor([[[0.0, 1.0]]])
    resized = resize_logits(logits_KHW, (1, 4))
    # align_corners=False: centres at 1/8, 3/8, ... of the width.
    torch.testing.assert_close(resized, torch.tensor([[[0.0, 0.25, 0.75, 1.0]]]))
    assert resize_logits(logits_KHW, (1, 2)) is logits_KHW


def test_sizes_are_height_and_width(tmp_path: Path) -> None:
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (5, 7)


def test_the_cpu_can_be_picked() -> None:
    assert pick_device("cpu") == CPU
