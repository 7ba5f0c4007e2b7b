"""The small text files beside images: names of the classes, and which split an image is in."""

from __future__ import annotations

from pathlib import Path

from pipeline.class_names import bad_class_names
from pipeline.errors import DataError
from pipeline.reading import AGAIN, Document, read
from pipeline.types import IGNORE, INGEST_SPLITS, MAX_CLASSES


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names by index, from a CSV with columns index,name or from one name per line.

    DataError lists gaps, duplicates and what is not a number; 2 to 255 classes.
    """
    return parse_classes(read(path, remedy=AGAIN))


def parse_classes(document: Document) -> tuple[str, ...]:
    """As `read_classes`, of what is at hand."""
    path, lines = document.source, [li for li in document.text().split("\n") if li.strip()]
    header = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if {"index", "name"} <= set(header):
        names = _indexed(document)
    elif any("," in line for line in lines):
        raise DataError(f"{path}: header {lines[0]!r}, expected columns index,name, or no commas")
    else:
        names = [line.strip() for line in lines]
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(f"{path}: {len(names)} classes, expected 2 to {MAX_CLASSES}")
    if bad := bad_class_names(names):
        raise DataError(f"{path}: {len(bad)} class name(s) will not do\n  " + "\n  ".join(bad))
    return tuple(names)


def _indexed(document: Document) -> list[str]:
    by_index: dict[int, str] = {}
    bad: list[str] = []
    for row in document.table(("index", "name"), others=True, stripped=True):
        index, name = row["index"], row["name"]
        if index == str(IGNORE):
            continue  # the name that some data sets give to pixels without a class
        if not index.isdecimal() or not name:
            bad.append(f"{index[:20]!r},{name[:20]!r}: expected a whole number and a name")
        elif len(index) > len(str(MAX_CLASSES)) or int(index) >= MAX_CLASSES:
            bad.append(
                f"index {index[:20]}: expected at most {MAX_CLASSES - 1}, since masks have 8 bits "
                f"and {IGNORE} means ignore"
            )
        elif int(index) in by_index:
            bad.append(f"index {index} twice: {by_index[int(index)]!r} and {name!r}")
        else:
            by_index[int(index)] = name
    gaps = sorted(set(range(max(by_index, default=-1) + 1)) - set(by_index))
    if gaps and not bad:
        bad.append(f"indices must run from 0 without a gap; missing {gaps[:10]}")
    if bad:
        raise DataError(f"{document.source}: {len(bad)} problem(s)\n  " + "\n  ".join(bad))
    return [by_index[index] for index in sorted(by_index)]


def read_splits(path: Path) -> dict[str, str]:
    """Split of each id, from a CSV with columns id,split (others are ignored).

    DataError lists every unknown split, empty id and id that comes twice.
    """
    splits: dict[str, str] = {}
    bad: list[str] = []
    for row in read(path, remedy=AGAIN).table(("id", "split"), others=True, stripped=True):
        sample, split = row["id"], row["split"]
        if split not in INGEST_SPLITS:
            bad.append(f"line {row.line}: {sample}: split {split!r}")
        elif not sample or sample in splits:
            bad.append(f"line {row.line}: id {sample!r} is {'there twice' if sample else 'empty'}")
        splits.setdefault(sample, split)
    if bad:
        raise DataError(
            f"{path}: {len(bad)} problem(s); a split is one of {', '.join(INGEST_SPLITS)} "
            "(labelled: in the pool with its mask known; pool: people are asked)\n  "
            + "\n  ".join(bad)
        )
    return splits
