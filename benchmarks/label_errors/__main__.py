"""How early a review lists planted errors: `python -m benchmarks.label_errors --data DIR`.

DIR holds camvid/, dsb2018/ and encoders/. Images are of the split test, on which nothing of the
score was chosen, or of train with --split train. Every mask is judged by a head that did not learn from
it. Writes results/label_errors.{json,md}; exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.label_errors.planting import Planted, remove_nuclei, swap_classes
from benchmarks.support import RESULTS, machine, table
from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.formats import FORMATS
from pipeline.data.formats.images import load_mask
from pipeline.data.labelled_folder import Example, LabelledSet, read_labelled_set
from pipeline.files import write_json, write_text
from pipeline.label_errors.masks_judged import JudgedMask, judge_masks
from pipeline.probe.features import Features, cell_classes, features_of
from pipeline.runtime.torch_settings import settle_torch

POOL, MASKS = 120, 60  # images looked at; of them those of one seed
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
    pool, features = _features(args.data, "camvid", args.split, args.cache)
    for share in LEAST_SHARES:
        found["camvid"][str(share)] = [
            _swapped(pool, features, seed, share) for seed in range(args.seeds)
        ]
    pool, features = _features(args.data, "dsb2018", args.split, args.cache)
    found["dsb2018"] = [_removed(pool, features, seed) for seed in range(args.seeds)]
    text = "\n".join(_report(found))
    if args.split == "test":
        write_json(RESULTS / "label_errors.json", found)
        write_text(RESULTS / "label_errors.md", text)
    print(text)
    return 0 if all(found["held"].values()) else 1


def _features(root: Path, name: str, split: str, cache: Path) -> tuple[LabelledSet, Features]:
    """POOL images spread evenly over a split, and what a frozen encoder says about them."""
    given = read_labelled_set(FORMATS["folder"](root / name), "test")
    images: tuple[Example, ...] = given.scored if split == "test" else given.pool
    some = tuple(
        images[i] for i in np.linspace(0, len(images) - 1, min(POOL, len(images))).astype(int)
    )
    data = LabelledSet(classes=given.classes, pool=some, scored=())
    embed = EmbedParams(
        encoder="tu-mobilenetv2_100",
        encoder_weights=str(root / "encoders" / ENCODER),
        encoder_options={"pad_type": "same"},
        normalisation="symmetric",
    )
    height, width = SIZES[name]
    return data, features_of(data, embed, ImageParams(height_px=height, width_px=width), cache)[0]


def _judged(
    data: LabelledSet, features: Features, seed: int, plant: Callable[..., list[Planted]]
) -> tuple[list[Planted], list[JudgedMask], tuple[int, int]]:
    """Errors planted into MASKS masks, and what is said of these."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(data.pool), min(MASKS, len(data.pool)), replace=False)
    num_classes = len(data.classes)
    masks = [load_mask(data.pool[row].mask, num_classes).copy() for row in rows]
    planted = plant(masks, rng)
    size = SIZES["camvid" if num_classes > 3 else "dsb2018"]
    cells_NP = np.stack([cell_classes(mask_HW, size) for mask_HW in masks])
    size_hw = (size[0] // 4, size[1] // 4)
    judged = judge_masks(features.cells_NPD[rows], cells_NP, size_hw, num_classes, seed=seed)
    return planted, judged, size


def _swapped(data: LabelledSet, features: Features, seed: int, share: float) -> dict[str, Any]:
    """Where the masks with a swapped component stand in the review."""

    def plant(masks: list[Any], rng: np.random.Generator) -> list[Planted]:
        return swap_classes(masks, NUM_SWAPPED, share, rng)

    planted, judged, _ = _judged(data, features, seed, plant)
    order = [mask.row for mask in judged]
    by_softmin = [m.row for m in sorted(judged, key=lambda mask: mask.quality)]
    rows = [one.row for one in planted]
    return {
        "seed": seed,
        "ranks": sorted(order.index(row) + 1 for row in rows),
        "softmin_ranks": sorted(by_softmin.index(row) + 1 for row in rows),
        "found": sum(order.index(row) < FIRST for row in rows),
        "found_by_softmin": sum(by_softmin.index(row) < FIRST for row in rows),
        "swapped": [
            f"{data.classes[one.was]} -> {data.classes[one.becomes]}, {one.pixels} px"
            for one in planted
        ],
    }


def _removed(data: LabelledSet, features: Features, seed: int) -> dict[str, Any]:
    """Precision of the list of all parts, down to the one that finds the tenth nucleus."""

    def plant(masks: list[Any], rng: np.random.Generator) -> list[Planted]:
        return remove_nuclei(masks, NUM_REMOVED, rng)

    planted, judged, size = _judged(data, features, seed, plant)
    where: dict[int, Any] = {}
    for number, one in enumerate(planted, start=1):
        cells_P = cell_classes(one.where_HW.astype(np.uint8), size).astype(bool)
        where.setdefault(one.row, np.zeros(len(cells_P), int))[cells_P] = number
    listed = sorted(
        ((mask.row, suspect) for mask in judged for suspect in mask.suspects),
        key=lambda each: -each[1].score,
    )
    hit: set[int] = set()
    right, precision = 0, 0.0
    for place, (row, suspect) in enumerate(listed, start=1):
        numbers_M = where.get(row, np.zeros(suspect.cells_hw.size, int))[suspect.cells_hw.ravel()]
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
        f"CamVid: in {NUM_SWAPPED} of {MASKS} masks one connected component, drawn at random, "
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
        "parts in order of their score; what was wrong in the masks before counts as a false alarm.",
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
