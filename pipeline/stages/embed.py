"""Stage `embed`: one feature vector per image of a domain, from a frozen encoder.

Shape suffixes: N samples, B of them at once, C channels, H height, W width, D embedding, R regions
of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray

from pipeline import layout
from pipeline.config.network import AUTO_RANDOM, chosen_sha256
from pipeline.config.params import EmbedParams, ImageParams, Params
from pipeline.data.augment import normalise
from pipeline.data.dataset import read_overview
from pipeline.errors import ConfigError, DataError
from pipeline.files import replacing
from pipeline.models import build_encoder, settled
from pipeline.records.manifest import Sample, check_files, read_manifest
from pipeline.records.regions import Grid
from pipeline.runtime.devices import require_device
from pipeline.runtime.progress import Progress

BATCH = 16  # images at once; more gains nothing on two cores
# Of a region: there are hundreds of thousands, and cosines stay as they are to about 0.09.
REGION_FEATURES = 128
SEED = 0  # of that projection, and of an encoder without weights: neither may change between rounds


def run(root: Path, params: Params, *, domain: str | None = None) -> None:
    """Write predictions/embeddings/<domain>.npz: `sample_ids` and `embeddings_ND`, rows of norm 1.

    `scale_widths` says how many of the D numbers belong to each of the encoder's maps, in order.
    Every image of the domain, in order of ids; the same images give the same bytes. Where people
    are asked for regions, `region_ids` and `region_embeddings_ND` too; with embed.encoder_weights:
    auto, `encoder_weights` says what it stood for. `domain` defaults to the current one.
    """
    name = domain if domain is not None else params.domain
    if name is None or name not in params.domains:
        raise ConfigError(f"domain {name!r}: expected one of domains: {list(params.domains)}")
    samples = [item for item in read_manifest(root / layout.MANIFEST) if item.domain == name]
    if not samples:
        raise DataError(f"{layout.MANIFEST}: no sample of domain {name!r}; `ssl-loop domain add`")
    samples.sort(key=lambda sample: sample.sample_id)
    # Masks come and go between rounds; this stage depends on images alone.
    check_files(root, [replace(sample, mask="") for sample in samples])
    params = params.model_copy(update={"embed": settled(params.embed)})
    arrays = _embed(root, params, samples)
    chosen = params.embed.encoder_weights
    if chosen == AUTO_RANDOM or chosen_sha256(chosen):
        arrays["encoder_weights"] = np.array(chosen, dtype=np.str_)
    with replacing(root / layout.EMBEDDINGS / f"{name}.npz") as beside, beside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def frozen_encoder(params: Params) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """From uint8 images_BCHW, each seen whole, to the encoder's maps, all scales."""
    require_device(params.train)
    fabric = Fabric(accelerator=params.train.device, devices=1)
    embed = settled(params.embed)
    encoder = fabric.to_device(seeded_encoder(embed))

    def maps_of(images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        with torch.inference_mode():
            pixels_BCHW = normalise(fabric.to_device(images_BCHW), embed.normalisation)
            _, *maps = encoder(pixels_BCHW)  # the first is the image itself
        return maps

    return maps_of


def seeded_encoder(embed: EmbedParams) -> torch.nn.Module:
    """The encoder with its weights, or with the same random ones each time where it has none."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return build_encoder(settled(embed))


def file_embedder(params: Params) -> Callable[[Path], NDArray[np.float32]]:
    """From an image file to its D numbers of norm 1, as `run` makes them; DataError for a bad one.

    One file at a time, so that it does not matter with which others it came.
    """
    maps_of = frozen_encoder(params)

    def embed(file: Path) -> NDArray[np.float32]:
        row_1D = pooled(maps_of(read_overview(file, params.image)[None]))
        return row_1D[0].cpu().numpy().astype(np.float32)

    return embed


def _embed(root: Path, params: Params, samples: list[Sample]) -> dict[str, NDArray[np.generic]]:
    maps_of = frozen_encoder(params)
    wholes: list[torch.Tensor] = []
    widths: list[int] = []
    regions: list[torch.Tensor] = []
    with Progress(f"embed {samples[0].domain}", len(samples)) as progress, torch.inference_mode():
        for images_BCHW in overviews([root / each.image for each in samples], params.image):
            maps = maps_of(images_BCHW)
            wholes.append(pooled(maps).cpu())
            widths = [features.shape[1] for features in maps]
            if params.grid:
                regions.append(pooled_regions(maps, params.grid).cpu())
            progress.advance(len(images_BCHW))
    names = [sample.sample_id for sample in samples]
    arrays: dict[str, NDArray[np.generic]] = {
        "sample_ids": np.array(names, dtype=np.str_),
        "embeddings_ND": torch.cat(wholes).numpy().astype(np.float32),
        "scale_widths": np.array(widths, dtype=np.int64),
    }
    if params.grid:
        ids = [region for name in names for region in params.grid.ids(name)]
        arrays["region_ids"] = np.array(ids, dtype=np.str_)
        arrays["region_embeddings_ND"] = torch.cat(regions).numpy().astype(np.float16)
    return arrays


def overviews(files: Sequence[Path], image: ImageParams) -> Iterator[torch.Tensor]:
    """uint8 images_BCHW seen whole, in order; those in a batch have the same size."""
    for first in range(0, len(files), BATCH):
        read = [read_overview(file, image) for file in files[first : first + BATCH]]
        for _, alike in groupby(read, key=lambda image_CHW: image_CHW.shape):
            yield torch.stack(list(alike))


def pooled(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """BxD rows of norm 1: every scale averaged over the image, weighted alike, side by side.

    All scales, because among 351 CamVid frames the nearest is then a neighbour in time for 70 %
    against 58 % with the deepest alone (37 % against 23 % with random weights).
    """
    means = [F.normalize(features.mean(dim=(2, 3)), dim=1) for features in maps]
    return F.normalize(torch.cat(means, dim=1), dim=1)


def pooled_regions(maps: Sequence[torch.Tensor], grid: Grid) -> torch.Tensor:
    """(B R)xD rows of norm 1, image by image: as `pooled`, over each region instead.

    Where a scale's cells are larger than a region it takes those that it lies in.
    """
    size = (grid.rows, grid.columns)
    means = [F.normalize(F.adaptive_avg_pool2d(features, size), dim=1) for features in maps]
    joined_BCHW = torch.cat(means, dim=1)
    rows_NC = joined_BCHW.permute(0, 2, 3, 1).reshape(-1, joined_BCHW.shape[1])
    return F.normalize(_narrow(rows_NC), dim=1)


def _narrow(rows_NC: torch.Tensor) -> torch.Tensor:
    """At most REGION_FEATURES wide: by a random projection, the same for every domain."""
    width = rows_NC.shape[1]
    if width <= REGION_FEATURES:
        return rows_NC
    draw = torch.Generator().manual_seed(SEED)
    projection_CD = torch.randn(width, REGION_FEATURES, generator=draw)
    return rows_NC @ projection_CD.to(rows_NC)
