"""A trained network over samples: logits at the network's size, then at each image's own.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from pipeline.data.datasets import ImageStore
from pipeline.data.manifest import Sample
from pipeline.data.transforms import normalise
from pipeline.errors import ModelError
from pipeline.models import LoadedModel

BATCH = 8  # images per pass; more saves no time on a CPU


def pick_device(device: str) -> torch.device:
    """The device that `train.device` names, as Lightning Fabric sees it."""
    return Fabric(accelerator=device, devices=1).device


def logits_of(
    model: LoadedModel, samples: Sequence[Sample], store: ImageStore, device: torch.device
) -> Iterator[tuple[Sample, Tensor]]:
    """Each sample with its float32 logits_KHW at the store's size, on `device`."""
    if model.network is None:
        raise ModelError("the model is not trained; there is nothing to predict with")
    network = model.network.to(device)
    normalisation = model.config["normalisation"]
    for first in range(0, len(samples), BATCH):
        group = samples[first : first + BATCH]
        images_BCHW = torch.stack([store.image(sample) for sample in group]).to(device)
        with torch.inference_mode():
            logits_BKHW = network(normalise(images_BCHW, normalisation)).float()
        yield from zip(group, logits_BKHW, strict=True)


def resize_logits(logits_KHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at another height and width, bilinear on pixel areas (align_corners=False)."""
    if logits_KHW.shape[-2:] == size:
        return logits_KHW
    return F.interpolate(logits_KHW[None], size, mode="bilinear", align_corners=False)[0]


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, read from its header."""
    with Image.open(path) as image:
        return image.height, image.width
