"""Shift report of a folder of labelled images: a small head on features of a frozen encoder.

No workspace, minutes. The head stands for the network of the loop: its own figures, not to be set
beside published ones. N images, M cells of an image, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from pipeline.config.block import Block
from pipeline.config.params import EmbedParams, ImageParams
from pipeline.data.corruptions import ALTERATIONS, Alteration, altered
from pipeline.data.dataset import read_image
from pipeline.data.formats import FORMATS, Source, read_classes
from pipeline.data.labelled_folder import TRAIN_SPLITS, Example, LabelledSet, held_out, split_rows
from pipeline.errors import DataError
from pipeline.models import settled
from pipeline.probe import head
from pipeline.probe.features import (
    Features,
    features_of,
    more_features,
    named,
    whole_images,
)
from pipeline.shift.channel_statistics import layer_distances
from pipeline.shift.comparison import ModelSays, Setting, ShiftReport, Side, compare, val_runs
from pipeline.shift.corruption_calibration import NUM_IMAGES, directions, parted, rehearse
from pipeline.shift.forward import Picture, Preprocessing, frozen_encoder, layer_moments, watched
from pipeline.shift.predictions import Predictions, drawn, pixels_per_image
from pipeline.shift.time_blocks import Embeddings, Runs, evenly, run_length, runs_of
from pipeline.shift.verdict import sentences
from pipeline.types import IGNORE

CheckOn = Literal["test", "all"]
FEWEST = 3  # train images: one of them is held out to judge by


@dataclass(frozen=True, kw_only=True)
class TwoDomains:
    """Images with their masks, in order of names."""

    classes: tuple[str, ...]
    own: tuple[Example, ...]
    """The known images: the split train of the first domain."""
    other: tuple[Example, ...]
    """All images of the second domain."""
    truth: frozenset[str]
    """Names of the images of the second domain whose masks give the true mIoU."""


def two_domains(root: Path, a: str, b: str, check_on: CheckOn | None) -> TwoDomains:
    """From images/, masks/, classes.csv and splits.csv (id, split, domain) under `root`.

    DataError names what is absent: a domain, a file, images to learn from or to check on.
    """
    source = FORMATS["folder"](root)
    if a == b:
        raise DataError(f"{a!r} twice: expected two domains")
    if source.masks is None or source.splits is None:
        raise DataError(f"{root}: expected masks/ and splits.csv (id, split, domain) there")
    rows = split_rows(source.splits)
    there = sorted({domain for _, _, domain in rows})
    if absent := [name for name in (a, b) if name not in there]:
        raise DataError(f"{', '.join(absent)}: not in {source.splits}; there: {', '.join(there)}")
    train = [name for name, split, own in rows if own == a and split in TRAIN_SPLITS]
    whole = [name for name, _, own in rows if own == b]
    test = [name for name, split, own in rows if own == b and split == "test"]
    truth = {"all": whole, "test": test, None: []}[check_on]
    if len(train) < FEWEST or (check_on and not truth):
        raise DataError(
            f"{source.splits}: {len(train)} train images of {a}, {len(truth)} of {b} to check on; "
            f"expected at least {FEWEST} and 1"
        )
    if source.classes is None:
        raise DataError(f"{root}: no classes.csv, columns index,name")
    return TwoDomains(
        classes=read_classes(source.classes),
        own=_examples(source, train, a),
        other=_examples(source, whole, b),
        truth=frozenset(truth),
    )


def _examples(source: Source, names: Sequence[str], domain: str) -> tuple[Example, ...]:
    assert source.masks is not None
    there = {path.stem: path for path in sorted(source.images.glob("*")) if path.is_file()}
    chosen = sorted(set(names))
    masks = {name: source.masks / f"{name}.png" for name in chosen}
    absent = [name for name in chosen if name not in there or not masks[name].is_file()]
    if absent:
        raise DataError(f"{source.images.parent}: image or mask absent: {', '.join(absent[:8])}")
    return tuple(
        Example(name=name, domain=domain, image=there[name], mask=masks[name]) for name in chosen
    )


OTHER_SEED = 10_000  # added for the second head, whose disagreement with the first is counted


class ShiftSettings(Block):
    """What `--set` may change."""

    embed: EmbedParams = Field(default_factory=EmbedParams)
    image: Annotated[ImageParams, AfterValidator(whole_images)] = Field(
        default_factory=lambda: ImageParams(height_px=192, width_px=256)
    )


@dataclass(frozen=True, kw_only=True)
class ShiftRequest:
    """What a user asks for."""

    root: Path
    """images/, masks/, classes.csv, splits.csv (id, split, domain)."""
    a: str
    b: str
    settings: ShiftSettings
    cache: Path
    """Where features are kept."""
    seed: int = 0
    """Of the head."""
    run_length: int | None = None
    """Images that count as one; None: as found."""
    check_on: CheckOn | None = None
    """Images of `b` by whose masks the truth is set beside: its split test, or all of it."""


class Rows(NamedTuple):
    """Indices into the features, by role."""

    fit: NDArray[np.int64]
    val: NDArray[np.int64]
    target: NDArray[np.int64]
    truth: NDArray[np.int64]


class Rehearsed(NamedTuple):
    """Features of some validation images, clean and then under each corruption."""

    cells_NPD: NDArray[np.float16]
    masks_NP: NDArray[np.uint8]
    embeddings_NE: Embeddings


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainPair:
    """The images of two domains with their features: those of `a` first, then those of `b`."""

    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    features: Features
    rows: Rows
    run_length: int
    layers: list[dict[str, Any]]
    """Per-layer distances between the domains in the encoder."""
    rehearsal: Rehearsed


def shift(request: ShiftRequest) -> ShiftReport:
    """How unlike `b` is from `a`, and what a head trained on `a` is worth there."""
    bench = bench_of(request)
    found = compared(bench, request)
    target = [bench.examples[row] for row in bench.rows.target]
    return ShiftReport(found, {example.name: example.image for example in target})


def with_seed(request: ShiftRequest, seed: int) -> ShiftRequest:
    """The same request with another seed, so other heads."""
    return replace(request, seed=seed)


def bench_of(request: ShiftRequest) -> DomainPair:
    """Both domains with their features; DataError names a domain that is not there.

    Of `a` the split train teaches, but for blocks of neighbours that are held out to judge by. Of
    `b` all images are looked at, and no mask but for `check_on`.
    """
    given = two_domains(request.root, request.a, request.b, request.check_on)
    own, other = given.own, given.other
    data = LabelledSet(classes=given.classes, pool=own, scored=other)
    pool, scored = features_of(data, request.settings.embed, request.settings.image, request.cache)
    features = replace(
        pool,
        cells_NPD=np.concatenate([pool.cells_NPD, scored.cells_NPD]),
        masks_NP=np.concatenate([pool.masks_NP, scored.masks_NP]),
        embeddings_NE=np.concatenate([pool.embeddings_NE, scored.embeddings_NE]),
    )
    length = request.run_length or run_length([pool.embeddings_NE, scored.embeddings_NE])
    rows = _rows([e.name for e in own], [e.name for e in other], given.truth)
    return DomainPair(
        classes=given.classes,
        examples=(*own, *other),
        features=features,
        rows=rows,
        run_length=length,
        layers=_layers(own, other, request.settings, length),
        rehearsal=_rehearsed([own[row] for row in rows.val], pool, rows.val, request.settings),
    )


def compared(bench: DomainPair, request: ShiftRequest) -> dict[str, Any]:
    """The report on both domains, by a head trained with the request's seed."""
    rows, length = bench.rows, bench.run_length
    known = np.sort(np.concatenate([rows.fit, rows.val]))
    heads = [_head(bench, request.seed + more) for more in (0, OTHER_SEED)]
    cells_NPD, masks_NP = bench.features.cells_NPD, bench.features.masks_NP
    val, target = val_runs(len(rows.val), length), runs_of(len(rows.target), length)
    tried, embeddings_NE = bench.rehearsal, bench.features.embeddings_NE
    said_of_tried = _said(heads, tried.cells_NPD, tried.masks_NP, runs_of(len(tried.masks_NP), 1))
    ways = directions(embeddings_NE[known], embeddings_NE[rows.target], tried.embeddings_NE)
    says = ModelSays(
        known=_said(heads, cells_NPD[rows.val], masks_NP[rows.val], val),
        target=_said(heads, cells_NPD[rows.target], None, target),
        rehearsals=rehearse(*parted(said_of_tried), ways),
    )
    a, b = _side(bench, request.a, known), _side(bench, request.b, rows.target)
    setting = Setting(
        classes=bench.classes,
        model=f"a small head on features of a frozen encoder ({named(request.settings.embed)})",
        no_estimate="",
        run_length=length,
        mode="fast",
    )
    found = compare(a, b, says, bench.layers, setting)
    if request.check_on is None:
        return found
    features = bench.features
    cells_NPD, masks_NP = features.cells_NPD[rows.truth], features.masks_NP[rows.truth]
    truth = round(head.miou(heads[0], cells_NPD, masks_NP, len(bench.classes)), 6)
    found["truth"] = {f"{request.check_on} images of {request.b} with their masks": truth}
    return found | {"in_words": sentences(found)}


def _rows(known: Sequence[str], target: Sequence[str], truth: frozenset[str]) -> Rows:
    """The indices, from names in order."""
    held = set(held_out(known))
    start = len(known)
    return Rows(
        fit=np.array([row for row, name in enumerate(known) if name not in held]),
        val=np.array([row for row, name in enumerate(known) if name in held]),
        target=start + np.arange(len(target)),
        truth=np.array([start + row for row, name in enumerate(target) if name in truth], int),
    )


def _head(bench: DomainPair, seed: int) -> head.HeadWithPast:
    cells_NPD, masks_NP = (
        values[bench.rows.fit] for values in (bench.features.cells_NPD, bench.features.masks_NP)
    )
    known_NP = masks_NP != IGNORE
    return head.fit(cells_NPD[known_NP], masks_NP[known_NP], len(bench.classes), seed)


def _rehearsed(
    val: Sequence[Example], pool: Features, row_N: NDArray[np.int64], settings: ShiftSettings
) -> Rehearsed:
    chosen = evenly(len(val), NUM_IMAGES)

    def read(example: Example, way: Alteration) -> torch.Tensor:
        return altered(read_image(example.image, settings.image.crop_size), way)

    reads = [partial(read, val[n], way) for way in ALTERATIONS.values() for n in chosen]
    few_N = row_N[chosen]
    more = more_features(pool, settings.embed, reads)
    return Rehearsed(
        np.concatenate([pool.cells_NPD[few_N], more.cells_NPD]),
        np.tile(pool.masks_NP[few_N], (1 + len(ALTERATIONS), 1)),
        np.concatenate([pool.embeddings_NE[few_N], more.embeddings_NE]),
    )


def _said(
    heads: Sequence[head.HeadWithPast],
    cells_NPD: NDArray[np.float16],
    masks_NP: NDArray[np.uint8] | None,
    run_N: Runs,
) -> Predictions:
    num_classes = heads[0].classes.out_features
    wanted = pixels_per_image(len(cells_NPD), num_classes)
    place_M = drawn(cells_NPD.shape[1], wanted)
    logits = []
    for network in heads:
        with torch.inference_mode():
            parts = [
                network(torch.from_numpy(cells_PD[place_M].astype(np.float32))).numpy()
                for cells_PD in cells_NPD
            ]
        logits.append(np.stack(parts))
    return Predictions(
        logits_NMK=logits[0].astype(np.float16),
        other_NM=logits[1].argmax(axis=-1).astype(np.uint8),
        truth_NM=None if masks_NP is None else masks_NP[:, place_M],
        run_N=run_N,
    )


def _side(bench: DomainPair, name: str, rows: NDArray[np.int64]) -> Side:
    return Side(
        name=name,
        sample_ids=[bench.examples[row].name for row in rows],
        embeddings_NE=bench.features.embeddings_NE[rows],
    )


def _layers(
    own: Sequence[Example], other: Sequence[Example], settings: ShiftSettings, length: int
) -> list[dict[str, Any]]:
    """Per-layer distances of the frozen encoder."""
    device = torch.device("cpu")
    encoder = frozen_encoder(settings.embed, device)
    normalisation = settled(settings.embed).normalisation
    preprocessing = Preprocessing(settings.image, normalisation, device, tiles=False)
    one, two = (
        layer_moments(encoder, [Picture(e.name, e.image) for e in group], preprocessing, "layers")
        for group in (own, other)
    )
    return layer_distances(one, two, runs_of(len(own), length)[watched(len(own))])
