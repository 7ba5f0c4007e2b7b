"""How soon a watch notices that day became dusk, and how often it is wrong.

`python -m benchmarks.watch --data DIR` with camvid/, dsb2018/ and encoders/ under DIR, 5 seeds.
Writes watch.{json,md,svg} into benchmarks/results. Per seed whole blocks of 20 consecutive frames
of every day drive are held out of the reference until there are 300 images; these come first in
the stream, shuffled, then all dusk images, shuffled. Settings are the defaults of params.yaml, and
for the shuffled stream also the window that fits one, 1.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.camvid.day_and_dusk import locate
from benchmarks.support import RESULTS
from benchmarks.watch.watch_report import BLOCK, NUM_DAY, SETTINGS, page, plot
from pipeline.config.params import Params, parse_params
from pipeline.drift.change_test import Alarm, ChangeDetector
from pipeline.drift.reference import Reference, fit_reference
from pipeline.files import write_json, write_text
from pipeline.stages.embed import file_embedder, frozen_encoder

# Shuffled images are no video: window 1 is what to say of them. The default is for any order.
STREAMS: dict[str, dict[str, Any]] = {
    "Window 1, since the stream is shuffled": {"window": 1, "alike": False},
    f"Window {SETTINGS.window}, the default": {"window": SETTINGS.window, "alike": False},
    "Window 1, the blocks drawn from each drive in proportion": {"window": 1, "alike": True},
    f"Window {SETTINGS.window}, the blocks drawn from each drive in proportion": {
        "window": SETTINGS.window,
        "alike": True,
    },
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """One data set with its embeddings, in order of names."""

    names: NDArray[np.str_]
    domains: NDArray[np.str_]
    sequences: NDArray[np.str_]
    embeddings_ND: NDArray[np.float32]
    scale_widths: list[int]

    def where(self, **wanted: str) -> NDArray[np.intp]:
        """Indices of a domain (`domains=`) or a sequence (`sequences=`)."""
        ((column, value),) = wanted.items()
        return np.flatnonzero(getattr(self, column) == value)

    def reference(self, name: str, chosen: NDArray[np.intp]) -> Reference:
        """Of the chosen images."""
        chosen = np.sort(chosen)
        names = list(self.names[chosen])
        return fit_reference(name, names, self.embeddings_ND[chosen], self.scale_widths)


def main() -> None:
    """Embed, watch, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    raw = locate(args.data).settings(seed=0, steps=1)
    params = parse_params({"classes": ["a", "b"], "image": raw["image"], "embed": raw["embed"]})
    camvid, cells = (load(args.data / name, params) for name in ("camvid", "dsb2018"))
    found: dict[str, Any] = {
        "switch": {
            title: [switch(camvid, seed, **options) for seed in range(args.seeds)]
            for title, options in STREAMS.items()
        },
        "drives": [new_drive(camvid, name) for name in np.unique(camvid.sequences)],
        "cells": [cell_kinds(cells, seed) for seed in range(args.seeds)],
    }
    write_json(RESULTS / "watch.json", found)
    write_text(RESULTS / "watch.md", "\n".join(page(found)))
    plot(found["switch"][next(iter(STREAMS))])
    print("\n".join(page(found)))


def load(folder: Path, params: Params) -> Images:
    """A data set laid out as images/, splits.csv."""
    with (folder / "splits.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["id"])
    files = {path.stem: path for path in (folder / "images").iterdir()}
    embed = file_embedder(params)
    size = (params.image.height_px, params.image.width_px)
    maps = frozen_encoder(params)(torch.zeros((1, 3, *size), dtype=torch.uint8))
    return Images(
        names=np.array([row["id"] for row in rows]),
        domains=np.array([row["domain"] for row in rows]),
        sequences=np.array([row.get("sequence", "") for row in rows]),
        embeddings_ND=np.stack([embed(files[row["id"]]) for row in rows]),
        scale_widths=[features.shape[1] for features in maps],
    )


def switch(camvid: Images, seed: int, *, alike: bool, window: int) -> dict[str, Any]:
    """300 day images, then dusk: when the alarm came."""
    rng = np.random.default_rng(seed)
    drives = np.unique(camvid.sequences[camvid.where(domains="day")])
    blocks = shuffled_blocks([camvid.where(sequences=drive) for drive in drives], rng, alike=alike)
    # What is left of the last block is in neither, so that no block is on both sides.
    used = int(np.searchsorted(np.cumsum([len(block) for block in blocks]), NUM_DAY)) + 1
    drawn, kept = np.concatenate(blocks[:used])[:NUM_DAY], np.concatenate(blocks[used:])
    reference = camvid.reference("day", kept)
    stream = np.concatenate([rng.permutation(drawn), rng.permutation(camvid.where(domains="dusk"))])
    found = watched(reference, camvid.embeddings_ND[stream], changes_at=NUM_DAY, window=window)
    counts = {str(drive): int((camvid.sequences[kept] == drive).sum()) for drive in drives}
    return found | {"seed": seed, "reference": counts}


def shuffled_blocks(
    drives: Sequence[NDArray[np.intp]], rng: np.random.Generator, *, alike: bool
) -> list[NDArray[np.intp]]:
    """Blocks of consecutive frames in random order: of all drives, or of each one in proportion."""
    cut = [
        [drive[first : first + BLOCK] for first in range(0, len(drive), BLOCK)] for drive in drives
    ]
    if not alike:
        blocks = [block for drive in cut for block in drive]
        return [blocks[index] for index in rng.permutation(len(blocks))]
    keyed = [
        ((place + rng.random()) / len(drive), number, drive[index])
        for number, drive in enumerate(cut)
        for place, index in enumerate(rng.permutation(len(drive)))
    ]
    return [block for _, _, block in sorted(keyed, key=lambda each: each[:2])]


def new_drive(camvid: Images, sequence: str) -> dict[str, Any]:
    """One drive in the order of time, with the day drives but itself as the reference."""
    stream = camvid.where(sequences=sequence)
    day = np.setdiff1d(camvid.where(domains="day"), stream)
    found = watched(camvid.reference("day", day), camvid.embeddings_ND[stream])
    return found | {"drive": str(sequence), "domain": str(camvid.domains[stream[0]])}


def cell_kinds(cells: Images, seed: int) -> dict[str, Any]:
    """Half of the fluorescence images as reference; the other half, then each other kind."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(cells.where(domains="fluorescence"))
    half = len(order) // 2
    reference = cells.reference("fluorescence", order[:half])
    kinds = [str(name) for name in np.unique(cells.domains) if name != "fluorescence"]
    return {"seed": seed, "same": watched(reference, cells.embeddings_ND[order[half:]])} | {
        kind: watched(reference, cells.embeddings_ND[rng.permutation(cells.where(domains=kind))])
        for kind in kinds
    }


def watched(
    reference: Reference,
    stream_ND: NDArray[np.float32],
    *,
    changes_at: int = 0,
    window: int = SETTINGS.window,
) -> dict[str, Any]:
    """What the watch says of a stream; `delay` = 1 when the first image after the switch tells."""
    detector = ChangeDetector(false_alarm_every=SETTINGS.false_alarm_every, window=window)
    p_NS = reference.p_values(stream_ND)
    alarms: list[Alarm] = []
    suspicion = []
    for p_S in p_NS:
        alarms += [alarm] if (alarm := detector.add(p_S)) else []
        suspicion.append(detector.suspicion)
    right = [alarm for alarm in alarms if alarm.raised_at >= changes_at]
    return {
        "images": len(p_NS),
        "changes_at": changes_at,
        "false_alarms": len(alarms) - len(right),
        "delay": right[0].raised_at - changes_at + 1 if right else None,
        "since": right[0].since - changes_at if right else None,
        "highest_before": max(suspicion[: changes_at or None]),
        "suspicion": [round(value, 3) for value in suspicion],
        "median_p": [float(np.median(p)) for p in (p_NS[:changes_at], p_NS[changes_at:]) if len(p)],
    }


if __name__ == "__main__":
    main()
