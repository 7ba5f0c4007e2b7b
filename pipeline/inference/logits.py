"""A trained network over samples: logits at the scale it sees, then at each image's own size.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from pipeline.config.params import Params, TrainParams
from pipeline.data.dataset import ImageStore
from pipeline.data.formats.images import load_mask
from pipeline.errors import ConfigError, ModelError
from pipeline.inference.kept_features import KeptFeatures
from pipeline.inference.tiles import TileSettings, View, tiled
from pipeline.models import LoadedModel
from pipeline.models.probe import Probe
from pipeline.records.manifest import Sample
from pipeline.runtime.devices import require_device
from pipeline.runtime.progress import Progress
from pipeline.types import STRIDE_PX

SCALES = (0.75, 1.25)
DROPOUT_PASSES = 8


def pick_device(device: str) -> torch.device:
    """The device that `train.device` names, as Lightning Fabric sees it; ConfigError without it."""
    require_device(TrainParams(device=device))  # type: ignore[arg-type]
    return Fabric(accelerator=device, devices=1).device


def logits_of(
    model: LoadedModel,
    samples: Sequence[Sample],
    store: ImageStore,
    device: torch.device,
    kept: KeptFeatures | None = None,
) -> Iterator[tuple[Sample, Tensor]]:
    """Each sample with its float32 logits_KHW at the size it is seen at, on `device`.

    `kept`, of the same model, saves its encoder what it saw before.
    """
    network = network_of(model, device)
    view: View = network if kept is None else kept.view
    for sample, logits in views_of(model, [view], samples, store, device):
        yield sample, logits[view]


def views_of(
    model: LoadedModel,
    views: Sequence[View],
    samples: Sequence[Sample],
    store: ImageStore,
    device: torch.device,
) -> Iterator[tuple[Sample, dict[View, Tensor]]]:
    """As `logits_of`, by each of the views, which are on `device` already."""
    settings = TileSettings(store.crop_size, model.config["normalisation"], device)
    return tiled(((sample, store.image(sample)) for sample in samples), views, settings)


def kept_features_of(model: LoadedModel, root: Path, params: Params) -> KeptFeatures | None:
    """What is kept in the workspace `root` of a probe's features; None where the encoder learns."""
    if not isinstance(model.network, Probe):
        return None
    normalisation, limit_gib = model.config["normalisation"], params.train.features_gib
    return KeptFeatures(root, model.network, model.image, normalisation, limit_gib)


class MaskedLogits(NamedTuple):
    """What a model says about a sample, beside what is true."""

    sample: Sample
    logits_KHW: Tensor
    mask_HW: Tensor


def logits_and_masks(
    root: Path, model: LoadedModel, samples: Sequence[Sample], params: Params, label: str
) -> Iterator[MaskedLogits]:
    """Samples that have a mask, with logits_KHW on the device and the mask_HW, at its own size.

    ModelError where the model is not trained; `label` is shown beside the progress.
    """
    store = ImageStore(root, model.image, cache_mib=0)  # each image is seen once
    device = pick_device(params.train.device)
    kept = kept_features_of(model, root, params)
    with Progress(label, len(samples)) as progress:
        for sample, logits_KHW in logits_of(model, samples, store, device, kept):
            mask_HW = torch.tensor(load_mask(root / sample.mask, params.num_classes))
            size = (mask_HW.shape[0], mask_HW.shape[1])
            yield MaskedLogits(sample, resize_logits(logits_KHW, size), mask_HW)
            progress.advance()


def network_of(model: LoadedModel, device: torch.device) -> nn.Module:
    """The network on `device`; ModelError without one."""
    if model.network is None:
        raise ModelError("the model is not trained; there is nothing to predict with")
    return model.network.to(device)


def flips(network: nn.Module) -> list[View]:
    """The network's views of the image beside the one as it is: mirrored, smaller and larger."""
    return [_mirrored(network), *(_scaled(network, scale) for scale in SCALES)]


def dropout(network: nn.Module) -> list[View]:
    """The network with 8 draws of its dropout, the same for every image.

    ConfigError where it has none.
    """
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Dropout | nn.Dropout2d) and layer.p > 0
    ]
    if not layers:
        raise ConfigError(
            "predict.members = 'dropout': this model has no dropout; use flips or snapshots, or a "
            "model with dropout such as deeplabv3plus"
        )
    return [_dropped(network, layers, seed) for seed in range(DROPOUT_PASSES)]


def _mirrored(network: nn.Module) -> View:
    return lambda images_BCHW: network(images_BCHW.flip(-1)).flip(-1)


def _scaled(network: nn.Module, scale: float) -> View:
    def view(images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[-2:]
        scaled = [max(1, round(scale * side / STRIDE_PX)) * STRIDE_PX for side in (height, width)]
        images_BCHW = F.interpolate(images_BCHW, scaled, mode="bilinear", align_corners=False)
        logits_BKHW: Tensor = network(images_BCHW)
        return F.interpolate(logits_BKHW, (height, width), mode="bilinear", align_corners=False)

    return view


def _dropped(network: nn.Module, layers: Sequence[nn.Module], seed: int) -> View:
    def view(images_BCHW: Tensor) -> Tensor:
        devices = [images_BCHW.device] if images_BCHW.device.type == "cuda" else []
        found = []
        with torch.random.fork_rng(devices), _training(layers):
            # One at a time: with equal seeds every image then meets the same thinned network.
            for image_CHW in images_BCHW:
                torch.manual_seed(seed)
                found.append(network(image_CHW[None]))
        return torch.cat(found)

    return view


@contextmanager
def _training(layers: Sequence[nn.Module]) -> Iterator[None]:
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


def resize_logits(logits_KHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at another height and width, bilinear on pixel areas (align_corners=False)."""
    if logits_KHW.shape[-2:] == size:
        return logits_KHW
    return F.interpolate(logits_KHW[None], size, mode="bilinear", align_corners=False)[0]


def resize_rows(logits_KHW: Tensor, size: tuple[int, int], rows: slice) -> Tensor:
    """Some rows of `resize_logits`: of an image of 12 megapixels and 20 classes all are 1 GiB."""
    height = logits_KHW.shape[1]
    if logits_KHW.shape[-2:] == size:
        return logits_KHW[:, rows]
    wanted = torch.arange(rows.start, min(rows.stop, size[0]), device=logits_KHW.device)
    source = ((wanted + 0.5) * (height / size[0]) - 0.5).clamp(min=0)
    above = source.long().clamp(max=height - 1)
    below = (above + 1).clamp(max=height - 1)
    part = (source - above)[:, None]
    between_KHW = torch.lerp(logits_KHW[:, above], logits_KHW[:, below], part)
    shape = (len(wanted), size[1])
    return F.interpolate(between_KHW[None], shape, mode="bilinear", align_corners=False)[0]
