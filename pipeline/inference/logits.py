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
from pipeline.inference.strips import LogitsAt, strips_of
from pipeline.inference.tiles import Bands, TileSettings, View, tiled
from pipeline.metrics.iou import confusion_matrix
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


def views_of(
    model: LoadedModel,
    views: Sequence[View],
    samples: Sequence[Sample],
    store: ImageStore,
    device: torch.device,
) -> Iterator[tuple[Sample, Bands]]:
    """Each sample with its bands of float32 logits at the size it is seen at, on `device`.

    By each of the views, which are on `device` already; `tiled` says what bands are.
    """
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
    strips: Iterator[tuple[slice, Tensor]]
    """Rows and their logits_KRW on the device, at the mask's size, from the top; to be taken before
    the next sample."""
    mask_HW: Tensor

    def confusion(self, num_classes: int, drawn: LogitsAt | None = None) -> Tensor:
        """Takes the strips: int64 counts_KK of them all; `drawn` takes what it wants of each."""
        counts_KK = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        for rows, logits_KRW in self.strips:
            predicted_RW = logits_KRW.argmax(dim=0).cpu()
            counts_KK += confusion_matrix(predicted_RW, self.mask_HW[rows], num_classes)
            if drawn is not None:
                drawn.add(rows, logits_KRW)
        return counts_KK


def logits_and_masks(
    root: Path, model: LoadedModel, samples: Sequence[Sample], params: Params, label: str
) -> Iterator[MaskedLogits]:
    """Samples that have a mask, each with the strips of its logits and the mask, at its own size.

    ModelError where the model is not trained; `label` is shown beside the progress.
    """
    # Each image is seen once.
    store = ImageStore(root, model.image, cache_mib=0, decoded_gib=params.train.decoded_gib)
    device = pick_device(params.train.device)
    network = network_of(model, device)
    kept = kept_features_of(model, root, params)
    view: View = network if kept is None else kept.view
    with Progress(label, len(samples)) as progress:
        for sample, bands in views_of(model, [view], samples, store, device):
            mask_HW = torch.tensor(load_mask(root / sample.mask, params.num_classes))
            size = (mask_HW.shape[0], mask_HW.shape[1])
            found = ((strip.rows, strip.logits[view]) for strip in strips_of(bands, size))
            yield MaskedLogits(sample, found, mask_HW)
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
