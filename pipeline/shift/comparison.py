"""The shift report as JSON, from embeddings and predictions of two groups of images.

N images, E features of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.shift import two_sample
from pipeline.shift.corruption_calibration import Rehearsal, trust
from pipeline.shift.miou_estimate import expected_miou
from pipeline.shift.predictions import Predictions, compared
from pipeline.shift.time_blocks import Embeddings, Runs, runs_of
from pipeline.shift.verdict import sentences, verdict

NUM_UNLIKE = 12  # images shown
FEWEST_RUNS = 4  # of validation images: an interval over fewer is none


class ShiftReport(NamedTuple):
    """How unlike domain B is from A."""

    found: dict[str, Any]
    """As the report's JSON has it."""
    images: dict[str, Path]
    """The image files of B by their ids, of which the page shows some."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """The images of one domain, in order of names."""

    name: str
    sample_ids: Sequence[str]
    embeddings_NE: Embeddings


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSays:
    """A model's predictions on both domains."""

    known: Predictions
    """Predictions on labelled validation images where there are any."""
    target: Predictions
    rehearsals: Sequence[Rehearsal] = ()
    """The corruptions: expected and true fall of each, on corrupted validation images."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Facts for the report's sentences that the images do not give."""

    classes: Sequence[str]
    model: str
    """In words; "" where there is none."""
    no_estimate: str
    """Why no mIoU can be expected; "" where it can."""
    run_length: int
    mode: str


def val_runs(num_images: int, length: int) -> Runs:
    """Blocks of validation images: shorter where there would be fewer than four."""
    return runs_of(num_images, min(length, max(1, num_images // FEWEST_RUNS)))


def compare(
    a: Side,
    b: Side,
    says: ModelSays | None,
    layers: Sequence[Mapping[str, Any]],
    setting: Setting,
) -> dict[str, Any]:
    """The report on `b` as seen from `a`; docs/shift.md lists what it holds.

    `layers` as of `layer_distances`.
    """
    one, other = (
        two_sample.Group(
            embeddings_NE=side.embeddings_NE,
            run_N=runs_of(len(side.sample_ids), setting.run_length),
        )
        for side in (a, b)
    )
    novelty = two_sample.novelty(one, other)
    apart = two_sample.proxy_a_distance(one, other)
    found: dict[str, Any] = {
        "a": a.name,
        "b": b.name,
        "mode": setting.mode,
        "model": setting.model,
        "num_images": {"a": len(a.sample_ids), "b": len(b.sample_ids)},
        "run_length": setting.run_length,
        "proxy_a_distance": None if apart is None else _rounded(apart),
        "p_value": round(two_sample.p_value(one, other), 6),
        "novelty": None if novelty is None else round(novelty, 6),
        "layers": list(layers),
        "most_unlike": _most_unlike(one, other, b),
        "truth": None,
        **_frechet(one, other),
        **_said(says, setting, novelty),
    }
    found["verdict"] = verdict(found)
    return found | {"in_words": sentences(found)}


def _said(says: ModelSays | None, setting: Setting, novelty: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "expected_miou": None,
        "expected_miou_reason": setting.no_estimate or None,
        "expected_iou": None,
        "source_miou": None,
    }
    if says is None:
        return found
    found |= compared(says.known, says.target, setting.classes)
    if says.known.truth_NM is None:
        return found
    believed = trust(says.rehearsals)
    expected = expected_miou(says.known, says.target, novelty, believed)
    per_class = zip(setting.classes, expected.iou, strict=True)
    return found | {
        "expected_miou": _rounded(expected.miou),
        "source_miou": _rounded(expected.source_miou),
        "expected_by_threshold": round(expected.by_threshold, 6),
        "expected_by_chance": round(expected.by_chance, 6),
        "fall_scale": round(believed.scale, 6),
        "rehearsals": [
            {
                "name": each.name,
                "expected_fall": round(each.expected_fall, 6),
                "true_fall": round(each.true_fall, 6),
                "direction": round(each.direction, 6),
            }
            for each in says.rehearsals
        ],
        "expected_iou": {name: None if iou is None else round(iou, 6) for name, iou in per_class},
    }


def _frechet(one: two_sample.Group, other: two_sample.Group) -> dict[str, Any]:
    """Frechet distance, the same within `one` (every other block against the rest), and the map."""
    one_ND, other_ND = two_sample.components(one, other)
    even_N = one.run_N % 2 == 0
    within = None
    if not even_N.all():
        within = round(two_sample.frechet_distance(one_ND[even_N], one_ND[~even_N]), 6)
    places = {"a": one_ND[:, :2], "b": other_ND[:, :2]}
    return {
        "frechet_distance": round(two_sample.frechet_distance(one_ND, other_ND), 6),
        "frechet_within": within,
        "map": {side: np.round(rows, 4).tolist() for side, rows in places.items()},
    }


def _most_unlike(one: two_sample.Group, other: two_sample.Group, b: Side) -> list[dict[str, Any]]:
    """The most unlike images of `other`: furthest first, one per block."""
    far_N = two_sample.nearest(one, other)
    found: dict[int, int] = {}
    for row in np.argsort(-far_N, kind="stable"):
        found.setdefault(int(other.run_N[row]), int(row))
    rows = list(found.values())[:NUM_UNLIKE]
    return [
        {"sample_id": b.sample_ids[row], "distance": round(float(far_N[row]), 6)} for row in rows
    ]


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 6) for value in values]
