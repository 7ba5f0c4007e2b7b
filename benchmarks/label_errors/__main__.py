"""How early a review lists planted errors: `python -m benchmarks.label_errors --data DIR`.

DIR holds camvid/, dsb2018/ and encoders/. Images are of the split test, on which nothing of the
score was chosen, or of train with --split train. Every mask is judged by a head that did not learn
from it. Writes results/label_errors.{json,md}; exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.label_errors.planting import Mask, Planted, remove_nuclei, swap_classes
from benchmarks.support import RESULTS, machine, table
from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.formats import FORMATS
from pipeline.data.formats.images import load_mask
from pipeline.data.labelled_folder import LabelledSet, read_labelled_set
from pipeline.files import write_json, write_text
from pipeline.label_errors.masks_judged import JudgedMask, judge_masks
from pipeline.models.probe import CELL_PX
from pipeline.probe.features import Features, cell_classes, features_of
from pipeline.runtime.torch_settings import settle_torch

POOL, MASKS = 70, 60  # images looked at; of them those of one seed
FIRST, NUM_SWAPPED, NUM_REMOVED = 8, 5, 20
LEAST_SHARES = (0.01, 0.005)  # of the image: components that are swapped are no smaller
BARS = {"found of 5": 4.0, "precision at recall .5": 0.5}
SIZES = {"camvid": (352, 480), "dsb2018": (512, 512)}
ENCODER = "mobilenetv2_100_in1k_fp16.safetensors"


def main() -> int:
    """Plant, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("SSL_LOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None)
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path("build/label_errors"))
    args = parser.parse_args()
    if args.data is None:
        parser.error("--data: the folder of camvid/, dsb2018/ and encoders/")
    settle_torch()
    torch.set_num_threads(1)
    args.cache.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"split": args.split, "machine": machine(), "camvid": {}}
    pool = _ground(args.data, "camvid", args.split, args.cache)
    for share in LEAST_SHARES:
        found["camvid"][str(share)] = [_swapped(pool, seed, share) for seed in range(args.seeds)]
    pool = _ground(args.data, "dsb2018", args.split, args.cache)
    found["dsb2018"] = [_removed(pool, seed) for seed in range(args.seeds)]
    text = "\n".join(_report(found))
    if args.split == "test":
        write_json(RESULTS / "label_errors.json", found)
        write_text(RESULTS / "label_errors.md", text)
    print(text)
    return 0 if all(found["held"].values()) else 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """Images of one data set, and what a frozen encoder says about them."""

    data: LabelledSet
    features: Features
    size: tuple[int, int]
    """Height and width that they are squeezed to."""


def _ground(root: Path, name: str, split: str, cache: Path) -> Ground:
    """POOL images spread evenly over a split."""
    given = read_labelled_set(FORMATS["folder"](root / name), "test")
    images = given.scored if split == "test" else given.pool
    rows = np.linspace(0, len(images) - 1, min(POOL, len(images))).astype(int)
    some = tuple(images[row] for row in rows)
    data = LabelledSet(classes=given.classes, pool=some, scored=())
    embed = EmbedParams(
        encoder="tu-mobilenetv2_100",
        encoder_weights=str(root / "encoders" / ENCODER),
        encoder_options={"pad_type": "same"},
        normalisation="symmetric",
    )
    height, width = SIZES[name]
    image = ImageParams(height_px=height, width_px=width)
    features, _ = features_of(data, embed, image, cache)
    return Ground(data=data, features=features, size=SIZES[name])


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedGround:
    """Masks with planted errors, and what is said of them."""

    planted: list[Planted]
    masks: list[JudgedMask]
    size: tuple[int, int]


def _judged(
    pool: Ground, seed: int, plant: Callable[[list[Mask], np.random.Generator], list[Planted]]
) -> JudgedGround:
    """Errors planted into MASKS masks, and what is said of these."""
    rng = np.random.default_rng(seed)
    data, features, size = pool.data, pool.features, pool.size
    rows = rng.choice(len(data.pool), min(MASKS, len(data.pool)), replace=False)
    num_classes = len(data.classes)
    masks = [load_mask(data.pool[row].mask, num_classes).copy() for row in rows]
    planted = plant(masks, rng)
    cells_NP = np.stack([cell_classes(mask_HW, size) for mask_HW in masks])
    size_hw = (size[0] // CELL_PX, size[1] // CELL_PX)
    judged = judge_masks(features.cells_NPD[rows], cells_NP, size_hw, num_classes, seed)
    return JudgedGround(planted=planted, masks=judged, size=size)


def _swapped(pool: Ground, seed: int, share: float) -> dict[str, Any]:
    """Where the masks with a swapped component stand in the review."""
    found = _judged(pool, seed, lambda masks, rng: swap_classes(masks, NUM_SWAPPED, share, rng))
    order = [mask.row for mask in found.masks]
    by_softmin = [m.row for m in sorted(found.masks, key=lambda mask: mask.quality)]
    rows = [one.row for one in found.planted]
    names = pool.data.classes
    return {
        "seed": seed,
        "ranks": sorted(order.index(row) + 1 for row in rows),
        "softmin_ranks": sorted(by_softmin.index(row) + 1 for row in rows),
        "found": sum(order.index(row) < FIRST for row in rows),
        "found_by_softmin": sum(by_softmin.index(row) < FIRST for row in rows),
        "swapped": [
            f"{names[one.was]} -> {names[one.becomes]}, {one.pixels} px" for one in found.planted
        ],
    }


def _removed(pool: Ground, seed: int) -> dict[str, Any]:
    """Precision of the list of all parts, down to the one that finds the tenth nucleus."""
    found = _judged(pool, seed, lambda masks, rng: remove_nuclei(masks, NUM_REMOVED, rng))
    where: dict[int, NDArray[np.int64]] = {}
    for number, one in enumerate(found.planted, start=1):
        cells_P = cell_classes(one.where_HW.astype(np.uint8), found.size).astype(bool)
        where.setdefault(one.row, np.zeros(len(cells_P), np.int64))[cells_P] = number
    listed = sorted(
        ((mask.row, suspect) for mask in found.masks for suspect in mask.suspects),
        key=lambda each: -each[1].score,
    )
    hit: set[int] = set()
    right, precision = 0, 0.0
    for place, (row, suspect) in enumerate(listed, start=1):
        cells_P = suspect.cells_hw.ravel()
        numbers_M = where[row][cells_P] if row in where else np.zeros(cells_P.sum(), np.int64)
        if 2 * np.count_nonzero(numbers_M) >= len(numbers_M):
            right += 1
            hit |= set(numbers_M[numbers_M > 0].tolist())
        if len(hit) >= NUM_REMOVED / 2 and not precision:
            precision = right / place
    return {
        "seed": seed,
        "precision at recall .5": round(precision, 3),
        "recall of the whole list": len(hit) / NUM_REMOVED,
        "parts listed": len(listed),
    }


def _report(found: dict[str, Any]) -> list[str]:
    """Markdown; `held` of `found` says which bars are met."""
    first = found["camvid"][str(LEAST_SHARES[0])]
    means = {
        "found of 5": statistics.fmean(row["found"] for row in first),
        "precision at recall .5": statistics.fmean(
            row["precision at recall .5"] for row in found["dsb2018"]
        ),
    }
    found["held"] = {name: means[name] >= bar for name, bar in BARS.items()}
    lines = [
        "# Planted label errors",
        "",
        f"By `python -m benchmarks.label_errors`, images of the split {found['split']}; "
        f"{found['machine']}.",
        "",
        f"CamVid: in {NUM_SWAPPED} of {MASKS} masks a connected component, drawn at random, "
        "becomes another class that the image has. How many of these masks are among the first "
        f"{FIRST} of the review (the bar is 4); `softmin` orders by cleanlab's score of the image.",
        "",
        *table(
            [
                {
                    "component of at least": f"{float(share):.1%} of the image",
                    "seed": str(row["seed"]),
                    f"in the first {FIRST}": row["found"],
                    "places": " ".join(map(str, row["ranks"])),
                    f"softmin, in the first {FIRST}": row["found_by_softmin"],
                }
                for share, rows in found["camvid"].items()
                for row in rows
            ]
        ),
        "",
        f"DSB2018: {NUM_REMOVED} nuclei of {MASKS} masks are painted over with background. All "
        "parts in order of their score; what was wrong in them before counts as a false alarm.",
        "",
        *table([{**row, "seed": str(row["seed"])} for row in found["dsb2018"]]),
        "",
        *(
            f"{name}: {means[name]:.2f} on average, the bar is {bar}: "
            f"{'held' if found['held'][name] else 'MISSED'}."
            for name, bar in BARS.items()
        ),
    ]
    return [*lines, ""]


if __name__ == "__main__":
    raise SystemExit(main())
