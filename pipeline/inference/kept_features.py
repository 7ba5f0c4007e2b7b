"""What a probe's frozen encoder says about tiles, kept on disk: it is the same in every round.

B tiles, D components, h and w a tile's size in cells.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import layout
from pipeline.config.network import Normalisation
from pipeline.config.params import ImageParams
from pipeline.errors import WorkspaceError
from pipeline.files import replacing
from pipeline.inference.tiles import PlacedView, TilePlace
from pipeline.models.probe import CELL_PX, Probe
from pipeline.runtime.progress import say

KEPT = "*.npy"


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
        used = sum(file.stat().st_size for file in (root / layout.FEATURES).rglob(KEPT))
        self._free_bytes = int(limit_gib * 2**30) - used

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
        found = [_read(file, shape) for file in files]
        missing = [row for row, cells in enumerate(found) if cells is None]
        if missing:
            made_BDhw = self._network.cells(normalised_BCHW[missing]).half().cpu()
            for row, cells_Dhw in zip(missing, made_BDhw, strict=True):
                found[row] = cells_Dhw
                self._write(files[row], cells_Dhw)
        return torch.stack([cells for cells in found if cells is not None]).float()

    def drop_others(self) -> None:
        """Remove what other encoders, components or sizes left behind."""
        for folder in self._folder.parent.glob("*"):
            if folder != self._folder and folder.is_dir():
                self._free_bytes += sum(file.stat().st_size for file in folder.rglob(KEPT))
                shutil.rmtree(folder)

    def _look(self, places: Sequence[TilePlace], normalised_BCHW: Tensor) -> Tensor:
        cells_BDhw = self.cells(places, normalised_BCHW).to(normalised_BCHW.device)
        return self._network.classify_cells(cells_BDhw, like=normalised_BCHW).float()

    def _file(self, place: TilePlace) -> Path:
        sha256 = place.key.image_sha256
        return self._folder / sha256[:2] / f"{sha256}-{place.top}-{place.left}.npy"

    def _write(self, file: Path, cells_Dhw: Tensor) -> None:
        size = cells_Dhw.nbytes
        if size > self._free_bytes:
            return
        self._free_bytes -= size
        try:
            with replacing(file) as beside, beside.open("wb") as out:
                np.save(out, cells_Dhw.numpy())
        except WorkspaceError as error:  # a help, and no reason to lose a training
            self._free_bytes = 0
            say(f"{error}; no more features are kept until then")


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


def _read(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = found.dtype == np.float16 and found.shape == shape
    return torch.from_numpy(found) if whole else None
