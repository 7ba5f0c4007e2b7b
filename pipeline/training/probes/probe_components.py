"""The principal components of a frozen encoder's features, which a probe sees instead of them.

B images, M cells, C channels, D components, h and w a map's size in cells.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import layout
from pipeline.array_files import array_of, read_arrays
from pipeline.config.params import Params
from pipeline.data.augment import middle_view, normalise
from pipeline.data.dataset import ImageStore
from pipeline.errors import DataError
from pipeline.files import replacing
from pipeline.inference.kept_features import encoder_key
from pipeline.inference.tiles import BATCH
from pipeline.models.probe import Probe, fine_map, side_by_side
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import Progress, say

MOST_IMAGES = 64  # evenly over the pool
CELLS = 2048  # of an image, evenly over it; more say no more and take longer than the encoder
GROUPS = (side_by_side, fine_map)  # each with components of its own: details vary less
Components = tuple[Tensor, Tensor]
"""mean_C and projection_CD."""


class FeatureMoments:
    """Of cells, as they come: what principal components are made of."""

    def __init__(self) -> None:
        self._total = self._squares = torch.zeros(())
        self._number = 0

    def add(self, features_BChw: Tensor) -> None:
        """Every cell counts the same."""
        rows_MC = features_BChw.movedim(1, -1).flatten(0, 2).double()
        self._total = self._total + rows_MC.sum(0)
        self._squares = self._squares + rows_MC.T @ rows_MC
        self._number += len(rows_MC)

    def components(self, count: int) -> Components:
        """Onto at most `count` components, each of variance 1."""
        mean_C = self._total / self._number
        around_CC = self._squares / self._number - torch.outer(mean_C, mean_C)
        values_C, vectors_CC = torch.linalg.eigh(around_CC)
        kept = min(count, len(values_C))
        scale_D = values_C[-kept:].clamp(min=1e-8).rsqrt()
        return mean_C.float(), (vectors_CC[:, -kept:] * scale_D).float()


def principal_components(features: Iterable[Tensor], count: int) -> Components:
    """(mean_C, projection_CD) of features_BChw, some images each."""
    moments = FeatureMoments()
    for features_BChw in features:
        moments.add(features_BChw)
    return moments.components(count)


def fit_components(network: Probe, root: Path, params: Params, described: Sequence[Sample]) -> None:
    """Give a probe the components of the images `described`; of the middle of each.

    They are kept for later rounds, for they hang on neither labels nor methods. Without any image
    the projection stays as it was drawn.
    """
    if not described:
        return
    images = hashlib.sha256(" ".join(s.image_sha256 for s in described).encode()).hexdigest()
    key = encoder_key(network, params.image, params.model.normalisation, images)
    file = root / layout.FEATURES / f"components-{key}.npz"
    found = _kept(file, len(network.decoder.components))
    if found is None:
        found = _made(network, root, params, described)
        arrays = {
            f"{name}_{place}": each.numpy()
            for place, pair in enumerate(found)
            for name, each in zip(("mean_C", "projection_CD"), pair, strict=True)
        }
        with replacing(file) as beside, beside.open("wb") as out:
            np.savez(out, **arrays)  # type: ignore[arg-type]
    network.decoder.set_components(*found)


def _kept(file: Path, groups: int) -> list[Components] | None:
    if not file.exists():
        return None
    try:
        arrays = read_arrays(file)
        return [
            (
                torch.from_numpy(array_of(arrays, f"mean_C_{place}", "f", 1, str(file))),
                torch.from_numpy(array_of(arrays, f"projection_CD_{place}", "f", 2, str(file))),
            )
            for place in range(groups)
        ]
    except DataError as error:
        say(f"{error}; made again")
        return None


@torch.no_grad()
def _made(
    network: Probe, root: Path, params: Params, described: Sequence[Sample]
) -> list[Components]:
    store = ImageStore(root, params.image, 0, params.train.decoded_gib)
    network.eval()
    groups = GROUPS[: len(network.decoder.components)]
    moments = [FeatureMoments() for _ in groups]
    with Progress("components of features", len(described)) as progress:
        for first in range(0, len(described), BATCH):
            group = described[first : first + BATCH]
            views = [middle_view(store.image(each), store.crop_size) for each in group]
            features = network.encode(normalise(torch.stack(views), params.model.normalisation))
            for each, kind in zip(moments, groups, strict=True):
                each.add(_some_cells(kind(features)))
            progress.advance(len(group))
    return [
        each.components(count)
        for each, count in zip(moments, network.decoder.components, strict=True)
    ]


def _some_cells(features_BChw: Tensor) -> Tensor:
    rows, columns = features_BChw.shape[-2:]
    every = max(1, round(math.sqrt(rows * columns / CELLS)))
    return features_BChw[:, :, every // 2 :: every, every // 2 :: every]
