"""A trained model, ready to say what it says in the loop about any image.

By the code of the stage `predict`: the same views, tiles, strips and means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from pipeline.config.params import Members
from pipeline.deploy.given_images import GivenImage
from pipeline.files import sha256_file
from pipeline.inference.kept_features import KeptFeatures
from pipeline.inference.logits import network_of, pick_device
from pipeline.inference.members import more_members
from pipeline.inference.pixels import PredictedImage, Views, predict_pixels
from pipeline.inference.tiles import TileSettings, View, tiled
from pipeline.models import load_beside, load_model
from pipeline.models.checkpoint import WEIGHTS
from pipeline.models.probe import Probe


class ShownImage(NamedTuple):
    """An image that the network is shown."""

    given: GivenImage
    size: tuple[int, int]
    """The image's own height and width, at which it is predicted."""

    @property
    def image_sha256(self) -> str:
        """By which a probe's tiles are told apart."""
        return self.given.image_sha256


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model, and how it is asked."""

    folder: Path
    members: Members = "none"
    """As predict.members of params.yaml."""
    device: str = "auto"
    """As train.device of params.yaml."""


class DeployedModel:
    """The network on its device. One thread at a time may ask it."""

    def __init__(self, choice: ModelChoice) -> None:
        """ModelError for a folder without a whole, trained model; ConfigError for the device."""
        loaded = load_model(choice.folder)
        self._device = pick_device(choice.device)
        network = network_of(loaded, self._device)
        beside = load_beside(choice.folder, loaded) if choice.members == "snapshots" else {}
        snapshots = [each.to(self._device) for name, each in beside.items() if name != "student"]
        as_it_is: View = network
        if isinstance(network, Probe):
            # It rounds cells as in the loop; of 0 GiB none is kept.
            normalisation = loaded.config["normalisation"]
            kept = KeptFeatures(choice.folder, network, loaded.image, normalisation, 0.0)
            as_it_is = kept.view
        more = more_members(choice.members, network, snapshots, str(choice.folder))
        self._views = Views(members=(as_it_is, *more))
        self.image = loaded.image
        """The size of a tile, and the scale at which it sees images."""
        self.classes: tuple[str, ...] = tuple(loaded.config["classes"])
        self.sha256 = sha256_file(choice.folder / WEIGHTS)
        """Of its weights."""
        self._settings = TileSettings(
            loaded.image.crop_size, loaded.config["normalisation"], self._device
        )

    def predictions(
        self, seen: Iterable[tuple[ShownImage, Tensor]], folder: Path | None = None
    ) -> Iterator[tuple[ShownImage, PredictedImage]]:
        """Each image, its pixels_CHW as the network sees them, with what is said about it.

        In order; tiles of small images share a pass. Scores of large ones lie in `folder`, by
        default the system's for temporary files.
        """
        for one, bands in tiled(seen, self._views.all, self._settings):
            yield one, predict_pixels(self._views, bands, one.size, folder=folder)
