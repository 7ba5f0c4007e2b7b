"""A folder of labelled images, cut into what may be asked for and what judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.data.formats import Source, read_classes
from pipeline.errors import DataError
from pipeline.reading import AGAIN, read

ScoreOn = Literal["val", "test"]
BLOCKS_PER_DOMAIN, VAL_EVERY, LONGEST_BLOCK = 10, 5, 20
TRAIN_SPLITS = ("train", "pool", "labelled")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image with its true mask."""

    name: str
    domain: str
    image: Path
    mask: Path


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """What a backtest works on."""

    classes: tuple[str, ...]
    pool: tuple[Example, ...]
    """May be asked for; in order of names."""
    scored: tuple[Example, ...]
    """Judge every model; nobody learns from them."""


def read_labelled_set(
    source: Source, score_on: ScoreOn = "val", classes: Sequence[str] | None = None
) -> LabelledSet:
    """Images, masks and splits (id, split, domain; train = the pool) of `source`.

    Without splits every image that has a mask is in train. val: blocks of consecutive names of the
    train split, per domain, every fifth one; so video frames are judged away from their neighbours.
    test: the split test, with the whole train split as pool. `classes` where the source names none.
    DataError lists what is absent.
    """
    if source.masks is None:
        raise DataError(f"{source.images}: no folder of masks beside it, and so no answers")
    rows = split_rows(source.splits) if source.splits else _all_in_train(source.masks)
    domains = sorted({domain for _, _, domain in rows})
    train = {
        d: [n for n, split, own in rows if own == d and split in TRAIN_SPLITS] for d in domains
    }
    if score_on == "test":
        pool = [(name, domain) for domain in domains for name in train[domain]]
        scored = [(name, domain) for name, split, domain in rows if split == "test"]
    else:
        held = {domain: set(held_out(train[domain])) for domain in domains}
        pool = [(n, d) for d in domains for n in train[d] if n not in held[d]]
        scored = [(n, d) for d in domains for n in train[d] if n in held[d]]
    if not pool or not scored:
        raise DataError(
            f"{source.splits or source.masks}: {len(pool)} images to ask for and {len(scored)} to "
            f"judge by; expected some of each: splits train and {score_on}"
        )
    return LabelledSet(
        classes=_classes(source, classes),
        pool=_examples(source.images, source.masks, pool),
        scored=_examples(source.images, source.masks, scored),
    )


def held_out(names: Sequence[str]) -> list[str]:
    """The val share of a domain's train images: the middle one of every five blocks of neighbours.

    A block is a tenth of the domain, at most 20 images: of a small domain some are held out too.
    """
    ordered = sorted(names)
    block = max(1, min(LONGEST_BLOCK, len(ordered) // BLOCKS_PER_DOMAIN))
    middle = VAL_EVERY // 2
    return [n for place, n in enumerate(ordered) if place // block % VAL_EVERY == middle]


def _classes(source: Source, otherwise: Sequence[str] | None) -> tuple[str, ...]:
    if source.classes is not None:
        return read_classes(source.classes)
    if otherwise is None:
        raise DataError(
            f"{source.images.parent}: no classes.csv; write one with columns index,name, or name a "
            "--workspace with these classes"
        )
    return tuple(otherwise)


def split_rows(path: Path) -> list[tuple[str, str, str]]:
    """(id, split, domain) of every line; DataError for absent columns and for ids twice."""
    table = read(path, remedy=AGAIN).table(("id", "split"), others=True, stripped=True)
    rows = [(row["id"], row["split"], row["domain"] or "all") for row in table]
    counts = Counter(name for name, _, _ in rows)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise DataError(f"{path}: ids that come twice: {', '.join(twice[:5])}")
    return rows


def _all_in_train(masks: Path) -> list[tuple[str, str, str]]:
    return [(path.stem, "train", "all") for path in sorted(masks.glob("*.png"))]


def _examples(images: Path, masks: Path, chosen: Sequence[tuple[str, str]]) -> tuple[Example, ...]:
    there = {path.stem: path for path in sorted(images.glob("*")) if path.is_file()}
    absent = [name for name, _ in chosen if name not in there]
    absent += [f"{name} (mask)" for name, _ in chosen if not (masks / f"{name}.png").is_file()]
    if absent:
        raise DataError(f"{images.parent}: {len(absent)} file(s) absent: {', '.join(absent[:8])}")
    return tuple(
        Example(name=name, domain=domain, image=there[name], mask=masks / f"{name}.png")
        for name, domain in sorted(chosen)
    )
