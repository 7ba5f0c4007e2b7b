"""What a probe's frozen encoder says about tiles, kept on disk: it is the same in every round.

B tiles, D components, h and w a tile's size in cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import layout
from pipeline.config.network import Normalisation
from pipeline.config.params import ImageParams
from pipeline.inference.tiles import PlacedView, TilePlace
from pipeline.models.probe import CELL_PX, Probe
from pipeline.runtime.kept_files import KeptArrays


class KeptFeatures:
    """Cells of the tiles of images of a workspace, in half precision, one file for each tile.

    Kept or not, cells are rounded to half precision, so that a prediction does not hang on what
    lies on disk. A file that cannot be read is made again.
    """

    def __init__(
        self,
        root: Path,
        network: Probe,
        image: ImageParams,
        normalisation: Normalisation,
        limit_gib: float,
    ) -> None:
        """`limit_gib`: all files of the workspace together; beyond it no more are written."""
        self.normalisation = normalisation
        self.parts = network.head.parts
        self._network = network
        self._folder = root / layout.FEATURES / features_key(network, image, normalisation)
        self._files = KeptArrays(root / layout.FEATURES, limit_gib, "features")

        self.view = PlacedView(self._look)
        """The whole network on tiles whose keys are samples: logits_BKHW of the tiles' size."""

    @torch.no_grad()
    def cells(self, places: Sequence[TilePlace], normalised_BCHW: Tensor) -> Tensor:
        """float32 cells_BDhw on the CPU; the encoder sees only tiles that are not kept."""
        files = [self._file(place) for place in places]
        shape = (
            self._network.decoder.projection_CD.shape[1],
            normalised_BCHW.shape[-2] // CELL_PX,
            normalised_BCHW.shape[-1] // CELL_PX,
        )
        found = [self._read(file, shape) for file in files]
        missing = [row for row, cells in enumerate(found) if cells is None]
        if missing:
            made_BDhw = self._network.cells(normalised_BCHW[missing]).half().cpu()
            for row, cells_Dhw in zip(missing, made_BDhw, strict=True):
                found[row] = cells_Dhw
                self._write(files[row], cells_Dhw)
        return torch.stack([cells for cells in found if cells is not None]).float()

    def drop_others(self) -> None:
        """Remove what other encoders, components or sizes left behind."""
        self._files.drop_all_but(self._folder)

    def _look(self, places: Sequence[TilePlace], normalised_BCHW: Tensor) -> Tensor:
        cells_BDhw = self.cells(places, normalised_BCHW).to(normalised_BCHW.device)
        return self._network.classify_cells(cells_BDhw, like=normalised_BCHW).float()

    def _file(self, place: TilePlace) -> Path:
        sha256 = place.key.image_sha256
        return self._folder / sha256[:2] / f"{sha256}-{place.top}-{place.left}.npy"

    def _read(self, file: Path, shape: tuple[int, ...]) -> Tensor | None:
        found = self._files.read(file, np.float16, mapped=False)
        return None if found is None or found.shape != shape else torch.from_numpy(found)

    def _write(self, file: Path, cells_Dhw: Tensor) -> None:
        self._files.write(file, cells_Dhw.nbytes, lambda out: np.save(out, cells_Dhw.numpy()))


def features_key(network: Probe, image: ImageParams, normalisation: Normalisation) -> str:
    """Of everything but the images that cells depend on."""
    tensors = {
        **{f"encoder.{name}": value for name, value in network.encoder.state_dict().items()},
        "mean_C": network.decoder.mean_C,
        "projection_CD": network.decoder.projection_CD,
    }
    return digest([image.model_dump(), normalisation, _layers(network)], tensors.items())


def encoder_key(
    network: Probe, image: ImageParams, normalisation: Normalisation, about: object
) -> str:
    """Of the encoder, how it sees images, and `about`, anything that JSON can write."""
    shape = network.decoder.projection_CD.shape
    said = [image.model_dump(), normalisation, about, shape, _layers(network)]
    return digest(said, network.encoder.state_dict().items())


def _layers(network: Probe) -> list[str]:
    """The classes of the encoder's layers: the same weights say other things in other ones."""
    return [type(layer).__name__ for layer in network.encoder.modules()]


def digest(said: object, tensors: Iterable[tuple[str, Tensor]]) -> str:
    """16 hexadecimal digits."""
    found = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, value in tensors:
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
