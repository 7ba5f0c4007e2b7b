"""CamVid day, then dusk: the campaign that both CamVid benchmarks run, with services and without.

Validation: every fifth block of 20 consecutive frames of the official train split, per domain (the
official val split is one burst of near-duplicates without dusk). Twelve labelled day images to
start, spread evenly over the rest. The official test split is read once, at the end.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.formats import read_classes
from pipeline.data.ingest import validate_and_stage

DOMAINS = ("day", "dusk")
ROUNDS = 2
QUERY_SIZES = {"day": 8, "dusk": 4}
NUM_START = 12
BLOCK, VAL_EVERY = 20, 5
ENCODER = "tu-mobilenetv2_100"


@dataclass(frozen=True, kw_only=True)
class CamVid:
    """A folder laid out as images/, masks/, classes.csv, splits.csv, with the encoder's weights."""

    data: Path
    weights: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by index."""
        return read_classes(self.data / "classes.csv")

    @property
    def masks(self) -> Path:
        """The truth: what people would answer."""
        return self.data / "masks"

    def settings(self, *, seed: int, steps: int) -> dict[str, Any]:
        """What differs from the template's params.yaml."""
        encoder = {
            "encoder": ENCODER,
            "encoder_weights": str(self.weights.resolve()),
            "encoder_options": {"pad_type": "same"},
            "normalisation": "symmetric",
        }
        return {
            "image": {"height_px": 192, "width_px": 256},
            "model": {"name": "pspnet_mini", **encoder, "freeze_batch_norm": True},
            "embed": encoder,
            "train": {"seed": seed, "steps": steps, "encoder_learning_rate": 1e-4},
            "acquire": {"seed": seed},
        }

    def rows(self, domain: str, val_block: int = VAL_EVERY // 2) -> dict[str, str]:
        """`id -> labelled | pool | val | test` of one domain; by default as in the campaign."""
        return split_rows(self.data / "splits.csv", domain, val_block)

    def lay_out(self, domain: str, folder: Path, rows: Mapping[str, str] | None = None) -> None:
        """`folder`/images and `folder`/splits.csv of one domain, for `domain add`."""
        rows = self.rows(domain) if rows is None else rows
        (folder / "images").mkdir(parents=True)
        for stem in rows:
            (source,) = (self.data / "images").glob(f"{stem}.*")
            shutil.copyfile(source, folder / "images" / source.name)
        with (folder / "splits.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "split"), *rows.items()])


def stage(camvid: CamVid, domain: str, folder: Path, rows: Mapping[str, str] | None = None) -> Path:
    """The domain checked and copied as `domain add` does; `rows` instead of the campaign's."""
    source = folder / f"{domain}-source"
    camvid.lay_out(domain, source, rows)
    return stage_laid_out(camvid, domain, folder)


def stage_laid_out(camvid: CamVid, domain: str, folder: Path) -> Path:
    """The same of what lies in `folder`/<domain>-source, which goes."""
    source = folder / f"{domain}-source"
    validate_and_stage(
        name=domain,
        images=source / "images",
        masks=camvid.masks,
        splits=source / "splits.csv",
        classes=camvid.classes,
        existing_domains=(),
        destination=folder / "incoming",
    )
    shutil.rmtree(source)
    return folder / "incoming" / domain


def locate(data: Path) -> CamVid:
    """CamVid and the encoder under a folder that holds camvid/ and encoders/."""
    (weights,) = sorted((data / "encoders").glob("mobilenetv2_100*.safetensors"))[:1]
    return CamVid(data=data / "camvid", weights=weights)


def split_rows(path: Path, domain: str, val_block: int = VAL_EVERY // 2) -> dict[str, str]:
    """`id -> labelled | pool | val | test` of one domain; official val images are left out.

    `val_block`: which of every five blocks is val.
    """
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] == domain]
    train = sorted(row["id"] for row in rows if row["split"] == "train")
    found = {row["id"]: "test" for row in rows if row["split"] == "test"}
    pool = []
    for index, stem in enumerate(train):
        if index // BLOCK % VAL_EVERY == val_block:
            found[stem] = "val"
        else:
            found[stem] = "pool"
            pool.append(stem)
    if domain == DOMAINS[0]:
        found |= dict.fromkeys(evenly(pool, NUM_START), "labelled")
    return found


def evenly(stems: Sequence[str], count: int) -> list[str]:
    """`count` of them, evenly spread, so that consecutive frames are not taken together."""
    return [stems[int((k + 0.5) * len(stems) / count)] for k in range(count)]
