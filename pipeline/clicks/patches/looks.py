"""What a workspace's teacher says about an image file, or its frozen encoder before there is one.

D features of a cell, K classes, h and w a map's size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import layout
from pipeline.clicks.patches.prepared_image import LookedAt
from pipeline.config.params import Params
from pipeline.data.dataset import read_image
from pipeline.data.formats.images import image_size
from pipeline.inference.kept_features import digest
from pipeline.inference.logits import network_of
from pipeline.inference.tiles import TileSettings, View, tiled
from pipeline.models import LoadedModel, load_model, settled
from pipeline.models.checkpoint import CONFIG
from pipeline.models.probe import Probe, side_by_side
from pipeline.models.segmenter import Segmenter
from pipeline.stages.embed import seeded_encoder
from pipeline.training.probes.probe_choice import probe_image

WIDTH = 64  # of an encoder's features once they are projected
SEED = 0


class ImageLook(Protocol):
    """One way to look at image files."""

    key: str
    """Of everything but the image that the answer depends on."""

    def __call__(self, image: Path) -> LookedAt:
        """DataError for what is no image."""
        ...


class TeacherLook:
    """A trained network: what its decoder gives its head, and class probabilities.

    Of a probe the features are the components of its frozen encoder, which know more of an image
    than what its head keeps of them.
    """

    def __init__(self, model: LoadedModel) -> None:
        """ModelError where the model is not trained."""
        self._network = cast(Segmenter, network_of(model, torch.device("cpu")))
        self._image = model.image
        self._normalisation = model.config["normalisation"]
        self._last: tuple[Tensor, Tensor] | None = None
        said = [self._image.model_dump(), self._normalisation, type(self._network).__name__]
        self.key = digest(said, self._network.state_dict().items())

    def __call__(self, image: Path) -> LookedAt:
        """At the scale that the network was trained at, tile by tile."""
        pixels_CHW = read_image(image, self._image.seen_size(image_size(image)))
        settings = TileSettings(self._image.crop_size, self._normalisation, torch.device("cpu"))
        views: list[View] = [self._features, self._logits]
        features, logits = _seen(pixels_CHW, views, settings)
        self._last = None
        return LookedAt(cells_Dhw=features.numpy(), probs_Khw=logits.softmax(dim=0).numpy())

    def _features(self, images_BCHW: Tensor) -> Tensor:
        network = self._network
        if isinstance(network, Probe):
            found = network.cells(images_BCHW)
        else:
            found = network.represent(network.encode(images_BCHW))
        self._last = (images_BCHW, found)
        return found

    def _logits(self, images_BCHW: Tensor) -> Tensor:
        """Of the tiles that `_features` saw last: the encoder is the dear part."""
        assert self._last is not None
        assert self._last[0] is images_BCHW
        if isinstance(self._network, Probe):
            return self._network.classify_cells(self._last[1], like=images_BCHW)
        return self._network.classify(self._last[1], like=images_BCHW)


class EncoderLook:
    """The frozen encoder of `embed`, for images before there is a teacher: no class is known."""

    def __init__(self, params: Params) -> None:
        """ModelError for weights that do not fit."""
        embed = settled(params.embed)
        self._encoder = seeded_encoder(embed)
        self._normalisation = embed.normalisation
        self._projection_CD: Tensor | None = None
        said = ["encoder", embed.model_dump(), WIDTH]
        self.key = digest(said, self._encoder.state_dict().items())

    def __call__(self, image: Path) -> LookedAt:
        """All pixels, or as many as a probe sees."""
        size = image_size(image)
        seen = probe_image(size)
        settings = TileSettings(seen.crop_size, self._normalisation, torch.device("cpu"))
        pixels_CHW = read_image(image, seen.seen_size(size))
        (features,) = _seen(pixels_CHW, [self._features], settings)
        return LookedAt(cells_Dhw=features.numpy(), probs_Khw=None)

    def _features(self, images_BCHW: Tensor) -> Tensor:
        """All maps side by side, each of length 1 at a cell, through one random projection."""
        maps = [images_BCHW, *(F.normalize(each, dim=1) for each in self._encoder(images_BCHW)[1:])]
        rows_BChw = side_by_side(maps)
        if self._projection_CD is None:
            draw = torch.Generator().manual_seed(SEED)
            shape = (rows_BChw.shape[1], WIDTH)
            self._projection_CD = torch.randn(shape, generator=draw) / WIDTH**0.5
        return torch.einsum("bchw,cd->bdhw", rows_BChw, self._projection_CD)


def look_of(root: Path, params: Params) -> ImageLook:
    """By the teacher of the workspace `root`, or by the frozen encoder while there is none."""
    folder = root / layout.TEACHER
    model = load_model(folder) if (folder / CONFIG).exists() else None
    if model is not None and model.trained:
        return TeacherLook(model)
    return EncoderLook(params)


def _seen(pixels_CHW: Tensor, views: list[View], settings: TileSettings) -> list[Tensor]:
    """What each view gives for one image, all its rows together."""
    ((_, bands),) = [
        (key, list(found)) for key, found in tiled([("", pixels_CHW)], views, settings)
    ]
    return [torch.cat([band[view].values_KRW for band in bands], dim=1) for view in views]
