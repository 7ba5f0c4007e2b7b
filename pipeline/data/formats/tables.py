"""The small text files beside images: names of the classes, and which split an image is in."""

from __future__ import annotations

import csv
from pathlib import Path

from pipeline.class_names import bad_class_names
from pipeline.errors import DataError
from pipeline.files import open_regular
from pipeline.types import IGNORE, INGEST_SPLITS, MAX_CLASSES

MAX_BYTES = 64 * 10**6  # a million images with their splits take half of it


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names by index, from a CSV with columns index,name or from one name per line.

    DataError lists gaps, duplicates and what is not a number; 2 to 255 classes.
    """
    # Not splitlines, which also cuts at control characters: those are part of a name, and refused.
    text = _text(path).replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line.strip()]
    header = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if {"index", "name"} <= set(header):
        names = _indexed(path, lines)
    elif any("," in line for line in lines):
        raise DataError(f"{path}: header {lines[0]!r}, expected columns index,name, or no commas")
    else:
        names = [line.strip() for line in lines]
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(f"{path}: {len(names)} classes, expected 2 to {MAX_CLASSES}")
    if bad := bad_class_names(names):
        raise DataError(f"{path}: {len(bad)} class name(s) will not do\n  " + "\n  ".join(bad))
    return tuple(names)


def _indexed(path: Path, lines: list[str]) -> list[str]:
    by_index: dict[int, str] = {}
    bad: list[str] = []
    for row in csv.DictReader(lines, skipinitialspace=True):
        row = {(key or "").strip(): value for key, value in row.items()}
        index, name = str(row.get("index") or "").strip(), str(row.get("name") or "").strip()
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
        raise DataError(f"{path}: {len(bad)} problem(s)\n  " + "\n  ".join(bad))
    return [by_index[index] for index in sorted(by_index)]


def read_splits(path: Path) -> dict[str, str]:
    """Split of each id, from a CSV with columns id,split (others are ignored).

    DataError lists every unknown split, empty id and id that comes twice.
    """
    reader = csv.DictReader(_text(path).splitlines(), skipinitialspace=True)
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    if not {"id", "split"} <= set(columns):
        raise DataError(f"{path}: columns {columns}, expected at least id and split")
    splits: dict[str, str] = {}
    bad: list[str] = []
    for line, row in enumerate(reader, start=2):
        sample, split = (row["id"] or "").strip(), (row["split"] or "").strip()
        if split not in INGEST_SPLITS:
            bad.append(f"line {line}: {sample}: split {split!r}")
        elif not sample or sample in splits:
            bad.append(f"line {line}: id {sample!r} is {'there twice' if sample else 'empty'}")
        splits.setdefault(sample, split)
    if bad:
        raise DataError(
            f"{path}: {len(bad)} problem(s); a split is one of {', '.join(INGEST_SPLITS)} "
            "(labelled: in the pool with its mask known; pool: people are asked)\n  "
            + "\n  ".join(bad)
        )
    return splits


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(f"{path}: more than {MAX_BYTES // 10**6} MB, expected a small table")
        return content.decode("utf-8-sig")  # spreadsheets put a mark in front
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text: {error}") from None
