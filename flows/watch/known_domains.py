"""The reference of the drift test: embeddings of the domains that were taken in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.loop import Loop
from flows.workspace.dvc.dvc_files import DVC_LOCK, locked_stages
from pipeline import layout
from pipeline.array_files import array_of, read_arrays
from pipeline.data.formats.images import load_image
from pipeline.data.quality import look_at
from pipeline.drift.reference import (
    FLOOR,
    DomainEmbeddings,
    Reference,
    fit_references,
    most_plausible,
)
from pipeline.errors import ConfigError, WorkspaceError
from pipeline.files import sha256_file
from pipeline.reading import read
from pipeline.runtime.torch_settings import settle_torch

NUM_LOOKED_AT = 32  # images per domain that say how sharp images are here
TEST = "nearest image at each scale"  # said anew when the test is another: old suspicion is dropped


class Fit(NamedTuple):
    """How well one image fits the known domains."""

    p_values: list[float]
    """Of "it comes from a known domain", one per scale."""
    domain: str
    """The one that fits best."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """The known domains, fitted, with the encoder that made their embeddings."""

    references: list[Reference]
    usual_sharpness: float
    """Median sharpness of the least sharp domain, by which blurred images are told."""
    embed: Callable[[Path], NDArray[np.float32]]

    def fit(self, file: Path) -> Fit:
        """How well an image file fits them."""
        found = most_plausible(self.references, self.embed(file)[None])
        return Fit(found.p_MS[0].tolist(), found.domains[0])


def fingerprint(loop: Loop) -> str:
    """Hash of everything but the image that a p-value depends on; WorkspaceError as `known`."""
    params = loop.read_params()
    said = {
        "embeddings": {name: sha256_file(file) for name, file in _files(loop).items()},
        "embed": params.embed.model_dump(mode="json"),
        "image": params.image.model_dump(mode="json", exclude_none=True),
        "test": [params.watch.false_alarm_every, params.watch.window, TEST, FLOOR],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def known(loop: Loop) -> Known:
    """Fit the domains that have embeddings; WorkspaceError where none has, or they are old."""
    settle_torch()
    from pipeline.stages.embed import file_embedder  # torch: only when there is an image

    embeddings: dict[str, DomainEmbeddings] = {}
    # Files made before scales were looked at one by one do not say which features are of which: as
    # long as there is one, all features are one scale, in every domain.
    as_one = False
    for name, file in _files(loop).items():
        _require_current(loop, name)
        arrays = read_arrays(file, ("sample_ids", "embeddings_ND", "scale_widths"))
        ids = array_of(arrays, "sample_ids", "U", 1, str(file)).tolist()
        rows_ND = array_of(arrays, "embeddings_ND", "f", 2, str(file))
        widths = arrays["scale_widths"].tolist() if "scale_widths" in arrays else []
        as_one |= "scale_widths" not in arrays
        left_out = {sample.sample_id for sample in loop.workspace.manifest() if sample.left_out}
        kept = [index for index, sample_id in enumerate(ids) if sample_id not in left_out]
        embeddings[name] = DomainEmbeddings([ids[index] for index in kept], rows_ND[kept], widths)
    return Known(
        references=fit_references(
            {
                name: each._replace(scale_widths=[each.rows_ND.shape[1]])
                if as_one or not each.scale_widths
                else each
                for name, each in embeddings.items()
            }
        ),
        usual_sharpness=min(_usual_sharpness(loop, name) for name in embeddings),
        embed=file_embedder(loop.read_params()),
    )


def _files(loop: Loop) -> dict[str, Path]:
    domains = loop.read_params().domains
    files = {name: loop.root / layout.EMBEDDINGS / f"{name}.npz" for name in domains}
    there = {name: file for name, file in files.items() if file.exists()}
    if not there:
        raise WorkspaceError(
            f"{loop.root}: no domain has embeddings yet, so there is nothing to compare new "
            "images with; `ssl-loop domain add` brings one, `ssl-loop run` takes it in"
        )
    return there


def _require_current(loop: Loop, domain: str) -> None:
    """WorkspaceError when the encoder of params.yaml is not the one that made the embeddings."""
    lock = loop.root / DVC_LOCK
    stages = locked_stages(read(lock)) if lock.exists() else {}
    made = stages.get(f"embed@{domain}", {}).get("params", {}).get(layout.PARAMS.name)
    now = read(loop.root / layout.PARAMS, error=ConfigError).yaml()
    for block in ("embed", "image"):
        if made and made.get(block) != now.get(block):
            raise WorkspaceError(
                f"{layout.PARAMS}: {block} was changed since the embeddings of domain {domain} "
                "were made; `ssl-loop run` makes them again"
            )


def _usual_sharpness(loop: Loop, domain: str) -> float:
    samples = [s for s in loop.workspace.manifest() if s.domain == domain and not s.left_out]
    chosen = samples[:: max(1, len(samples) // NUM_LOOKED_AT)]
    return float(np.median([look_at(load_image(loop.root / s.image)).sharpness for s in chosen]))
