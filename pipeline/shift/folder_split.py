"""Two domains of a folder of labelled images: which of them teach, and which are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.data.formats import FORMATS, Source, read_classes
from pipeline.data.labelled_folder import TRAIN_SPLITS, Example, split_rows
from pipeline.errors import DataError

CheckOn = Literal["test", "all"]
FEWEST = 3  # train images: one of them is held out to judge by


@dataclass(frozen=True, kw_only=True)
class TwoDomains:
    """Images with their masks, in order of names."""

    classes: tuple[str, ...]
    own: tuple[Example, ...]
    """What is known: the split train of the first domain."""
    other: tuple[Example, ...]
    """All of the second."""
    truth: frozenset[str]
    """Names of those of the second whose masks give the truth."""


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
