"""The principal components of a frozen encoder's features, which a probe sees instead of them.

B images, M cells, C channels, D components, h and w a map's size in cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
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
from pipeline.models.probe import Probe, side_by_side
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import Progress, say

MOST_IMAGES = 64  # evenly over the pool: their cells are many


def principal_components(features: Iterable[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """(mean_C, projection_CD): onto at most `count` components, each of variance 1.

    `features` are BChw, some images each; every cell counts the same.
    """
    total, squares, number = torch.zeros(()), torch.zeros(()), 0
    for features_BChw in features:
        rows_MC = features_BChw.movedim(1, -1).flatten(0, 2).double()
        total = total + rows_MC.sum(0)
        squares = squares + rows_MC.T @ rows_MC
        number += len(rows_MC)
    mean_C = total / number
    values_C, vectors_CC = torch.linalg.eigh(squares / number - torch.outer(mean_C, mean_C))
    kept = min(count, len(values_C))
    scale_D = values_C[-kept:].clamp(min=1e-8).rsqrt()
    return mean_C.float(), (vectors_CC[:, -kept:] * scale_D).float()


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
    found = _kept(file)
    if found is None:
        found = _made(network, root, params, described)
        with replacing(file) as beside, beside.open("wb") as out:
            np.savez(out, mean_C=found[0].numpy(), projection_CD=found[1].numpy())
    network.decoder.set_components(*found)


def _kept(file: Path) -> tuple[Tensor, Tensor] | None:
    if not file.exists():
        return None
    try:
        arrays = read_arrays(file)
        mean_C = array_of(arrays, "mean_C", "f", 1, str(file))
        projection_CD = array_of(arrays, "projection_CD", "f", 2, str(file))
    except DataError as error:
        say(f"{error}; made again")
        return None
    return torch.from_numpy(mean_C), torch.from_numpy(projection_CD)


@torch.no_grad()
def _made(
    network: Probe, root: Path, params: Params, described: Sequence[Sample]
) -> tuple[Tensor, Tensor]:
    store = ImageStore(root, params.image, cache_mib=0)
    network.eval()
    with Progress("components of features", len(described)) as progress:

        def features() -> Iterator[Tensor]:
            for first in range(0, len(described), BATCH):
                group = described[first : first + BATCH]
                views = [middle_view(store.image(each), store.crop_size) for each in group]
                pixels_BCHW = normalise(torch.stack(views), params.model.normalisation)
                yield side_by_side(network.encode(pixels_BCHW))
                progress.advance(len(group))

        return principal_components(features(), network.decoder.projection_CD.shape[1])
