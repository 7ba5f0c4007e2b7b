"""Synthetic domains: streets by day and at dusk with exact masks, drawn from a seed, no files.

A folder as `ssl-loop domain add` takes it: images/, masks/, classes.csv, splits.csv.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.formats.images import save_mask
from pipeline.data.synthetic.canvas import CLASSES as CLASSES
from pipeline.data.synthetic.conditions import DAY, DUSK, Conditions
from pipeline.data.synthetic.scene import draw_scene
from pipeline.errors import DataError
from pipeline.files import replacing

# The position enters the seed: append, never reorder.
DOMAINS: dict[str, Conditions] = {"day": DAY, "dusk": DUSK}


def make_domain(  # noqa: PLR0913 - the counts of four splits are one thing said in four words
    name: str,
    out: Path,
    *,
    num_labelled: int,
    num_pool: int,
    num_val: int,
    num_test: int = 0,
    height_px: int = 96,
    width_px: int = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `out`/images, masks, classes.csv, splits.csv of the domain `name`; equal seed, bytes.

    The splits say labelled, pool, val and test as often as asked; every image has a mask, so that
    an oracle may answer for the pool. A scene depends on seed, domain, split and its number in the
    split: more images of one split draw the same scenes for the others. `progress` is told
    (done, total).
    """
    if name not in DOMAINS:
        raise DataError(f"synthetic domain {name!r}: unknown; there are {', '.join(DOMAINS)}")
    counts = {"labelled": num_labelled, "pool": num_pool, "val": num_val, "test": num_test}
    if min(counts.values()) < 0 or sum(counts.values()) == 0:
        raise DataError(f"synthetic domain {name!r}: counts {counts}, expected at least one image")
    rows: list[tuple[str, str]] = []
    domain_index = list(DOMAINS).index(name)
    for split_index, (split, count) in enumerate(counts.items()):
        for index in range(count):
            rng = np.random.default_rng([seed, domain_index, split_index, index])
            image, mask = draw_scene(DOMAINS[name], rng, height_px=height_px, width_px=width_px)
            rows.append((f"street_{len(rows):04d}", split))
            _write_scene(out, f"{rows[-1][0]}.png", image, mask)
            if progress:
                progress(len(rows), sum(counts.values()))
    _write_csv(out / "classes.csv", ("index", "name"), list(enumerate(CLASSES)))
    _write_csv(out / "splits.csv", ("id", "split"), rows)


def _write_scene(out: Path, name: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    with replacing(out / "images" / name) as beside:
        Image.fromarray(image).save(beside, format="PNG")
    save_mask(out / "masks" / name, mask)


def _write_csv(
    path: Path, header: tuple[str, str], rows: list[tuple[str, str]] | list[tuple[int, str]]
) -> None:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
