"""Features of a frozen encoder, computed once: the fast backtest's stand-in for images.

N images, B of them at once, C channels, H height, W width, P cells of an image, D features of a
cell, E embedding of an image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pipeline.array_files import array_of, read_arrays
from pipeline.config.network import AUTO_RANDOM, chosen_sha256
from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.augment import normalise
from pipeline.data.dataset import read_image
from pipeline.data.formats.images import load_mask
from pipeline.data.labelled_folder import Example, LabelledSet
from pipeline.files import replacing
from pipeline.models import settled
from pipeline.models.probe import CELL_PX, NUM_COMPONENTS, side_by_side
from pipeline.reading import REMADE
from pipeline.runtime.progress import Progress, say
from pipeline.runtime.weights_folder import SHOWN
from pipeline.stages.embed import pooled, seeded_encoder
from pipeline.training.probes.probe_components import principal_components

NUM_FITTED = 64  # images the components are fitted on, evenly over the pool
BATCH = 8
_PER_IMAGE = ("cells", "embeddings", "masks")

Read = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Of one group of examples."""

    cells_NPD: NDArray[np.float16]
    """Standardised principal components of the encoder's maps, at every cell."""
    masks_NP: NDArray[np.uint8]
    """Class at every cell's centre, 255 = ignore."""
    embeddings_NE: NDArray[np.float32]
    """One row of norm 1 per image, as the stage embed makes them."""
    mean_C: NDArray[np.float32]
    projection_CD: NDArray[np.float32]
    """Of the encoder's maps onto the components: for more images of the same kind."""
    key: str
    """Of everything the features depend on."""


def whole_images(image: ImageParams) -> ImageParams:
    """The settings themselves; ValueError with a scale, which features of whole images lack."""
    if image.scale is not None:
        raise ValueError(
            "scale: features are of whole images squeezed to height_px x width_px; leave it null"
        )
    return image


def named(embed: EmbedParams) -> str:
    """The encoder in words."""
    given = settled(embed).encoder_weights
    if given in (None, AUTO_RANDOM):
        return f"{embed.encoder}, random weights"
    sha256 = chosen_sha256(given)
    return f"{embed.encoder}, {sha256[:SHOWN] if sha256 else Path(str(given)).name}"


def features_of(
    data: LabelledSet, embed: EmbedParams, image: ImageParams, cache: Path
) -> tuple[Features, Features]:
    """Of the pool and of what judges; read from the folder `cache` if they were made before.

    Where nothing judges, the second has no images.
    """
    embed = settled(embed)
    if embed.encoder_weights is None:
        say(
            "embed.encoder_weights is null: features of a random encoder, of which little can be "
            "learnt; --set embed.encoder_weights=FILE, or hub"
        )
    key = key_of(data, embed, image)
    file = cache / f"{key}.npz"
    if not file.exists():
        _make(data, embed, (image.height_px, image.width_px), file)
    arrays = read_arrays(file, remedy=REMADE)
    pool, scored = (
        Features(
            cells_NPD=array_of(arrays, f"{group}_cells", "f", 3, str(file)),
            masks_NP=array_of(arrays, f"{group}_masks", "u", 2, str(file)),
            embeddings_NE=array_of(arrays, f"{group}_embeddings", "f", 2, str(file)),
            mean_C=array_of(arrays, "mean", "f", 1, str(file)),
            projection_CD=array_of(arrays, "projection", "f", 2, str(file)),
            key=key,
        )
        for group in ("pool", "scored")
    )
    return pool, scored


def key_of(data: LabelledSet, embed: EmbedParams, image: ImageParams) -> str:
    """Of everything that features depend on; files by size and time of change."""
    files = [path for e in (*data.pool, *data.scored) for path in (e.image, e.mask)]
    if embed.encoder_weights and Path(embed.encoder_weights).is_file():
        files.append(Path(embed.encoder_weights))
    stats = [path.stat() for path in files]
    said = {
        "names": [[example.name for example in group] for group in (data.pool, data.scored)],
        "files": [[stat.st_size, stat.st_mtime_ns] for stat in stats],
        "classes": data.classes,
        "embed": embed.model_dump(),
        "image": image.model_dump(exclude_none=True),
        "shape": [CELL_PX, NUM_COMPONENTS, NUM_FITTED, "components kept"],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


class MoreFeatures(NamedTuple):
    """Of images beside those that a `Features` was made of."""

    cells_NPD: NDArray[np.float16]
    embeddings_NE: NDArray[np.float32]


@torch.inference_mode()
def more_features(features: Features, embed: EmbedParams, reads: Sequence[Read]) -> MoreFeatures:
    """Cells and embeddings of more images, by the components of `features`.

    `reads` give them as uint8 CHW at the network's size, each when it is needed.
    """
    embed = settled(embed)
    components = torch.from_numpy(features.mean_C), torch.from_numpy(features.projection_CD)
    maps = _maps(seeded_encoder(embed), embed, reads, f"features of {len(reads)} altered images")
    cells, embeddings = zip(*_projected(maps, components), strict=True)
    return MoreFeatures(np.concatenate(cells), np.concatenate(embeddings))


@torch.inference_mode()
def _make(data: LabelledSet, embed: EmbedParams, size: tuple[int, int], file: Path) -> None:
    encoder = seeded_encoder(embed)
    every = max(1, len(data.pool) // NUM_FITTED)
    fitted_on = _reads(data.pool[::every], size)
    maps = _maps(encoder, embed, fitted_on, "features, 1 of 2")
    components = principal_components((features for _, features in maps), NUM_COMPONENTS)
    made: dict[str, NDArray[np.generic]] = {
        "mean": components[0].numpy(),
        "projection": components[1].numpy(),
    }
    num_classes = len(data.classes)
    for group, examples in (("pool", data.pool), ("scored", data.scored)):
        if not examples:
            made |= {f"{group}_{name}": made[f"pool_{name}"][:0] for name in _PER_IMAGE}
            continue
        label = f"features of {len(examples)} images, 2 of 2"
        maps = _maps(encoder, embed, _reads(examples, size), label)
        found = list(_projected(maps, components))
        made[f"{group}_cells"] = np.concatenate([cells for cells, _ in found])
        made[f"{group}_embeddings"] = np.concatenate([vectors for _, vectors in found])
        masks = [load_mask(example.mask, num_classes) for example in examples]
        made[f"{group}_masks"] = np.stack([cell_classes(mask_HW, size) for mask_HW in masks])
    with replacing(file) as beside, beside.open("wb") as out:
        np.savez(out, **made)  # type: ignore[arg-type]


def _reads(examples: Sequence[Example], size: tuple[int, int]) -> list[Read]:
    return [partial(read_image, example.image, size) for example in examples]


def _maps(
    encoder: nn.Module, embed: EmbedParams, reads: Sequence[Read], label: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Per batch: embeddings_BE, and all scales from 1/4 on side by side as features_BCHW."""
    with Progress(label, len(reads)) as progress:
        for first in range(0, len(reads), BATCH):
            images_BCHW = torch.stack([read() for read in reads[first : first + BATCH]])
            found = encoder(normalise(images_BCHW, embed.normalisation))
            yield pooled(found[1:]), side_by_side(found)
            progress.advance(len(images_BCHW))


def _projected(
    batches: Iterator[tuple[Tensor, Tensor]], components: tuple[Tensor, Tensor]
) -> Iterator[tuple[NDArray[np.float16], NDArray[np.float32]]]:
    mean_C, projection_CD = components
    for embeddings_BE, features_BCHW in batches:
        rows_BPC = features_BCHW.movedim(1, -1).flatten(1, 2)
        cells_BPD = (rows_BPC - mean_C) @ projection_CD
        yield cells_BPD.half().numpy(), embeddings_BE.numpy()


def cell_classes(mask_HW: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """classes_P at the centres of cells, of a mask squeezed to `size` (height, width)."""
    width_height = (size[1] // CELL_PX, size[0] // CELL_PX)
    small = Image.fromarray(mask_HW).resize(width_height, Image.Resampling.NEAREST)
    return np.array(small).reshape(-1)
