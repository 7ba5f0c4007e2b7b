"""What must hold after every fault, by the harness's own book, git, PNG files and plain SQL.

None of it calls the loop's code: what the loop believes is not asked.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.people import Answer, Mask, People, pixels, truth

VARIANTS = range(6)  # as many as any kind of fault paints


@dataclass
class Findings:
    """What does not hold, in words, by invariant."""

    lost: list[str]
    """An answer is not in the ledger, or not in the data."""
    changed: list[str]
    """The data hold another mask than the one that counts."""
    doubled: list[str]
    """One answer is in the ledger twice, or one image in the data twice."""
    mixed_up: list[str]
    """An answer is under another image."""
    destroyed: list[str]
    """A person's annotation was deleted in the tool, and not by people."""

    @classmethod
    def none(cls) -> Findings:
        return cls(*([] for _ in fields(cls)))

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def check(root: Path, people: People, tag: str) -> Findings:
    """The workspace at `root` against the book, with answers merged up to `tag`."""
    found = Findings.none()
    samples = manifest_at(root, tag)
    shown = {pixels(root / row["image"]): row["sample_id"] for row in samples}
    check_ledger(root, people, shown, found)
    check_data(root, people, samples, found)
    check_tool(people, found)
    return found


def manifest_at(root: Path, tag: str) -> list[dict[str, str]]:
    text = subprocess.check_output(["git", "show", f"{tag}:data/manifest.csv"], cwd=root, text=True)
    return list(csv.DictReader(io.StringIO(text)))


def check_ledger(root: Path, people: People, shown: dict[str, str], found: Findings) -> None:
    """Each answer once, under the item of the image that its author saw."""
    rows = ledger_rows(root)
    for answer in people.standing():
        its = [row for row in rows if row["tool_annotation_id"] == answer.annotation_id]
        name = f"annotation {answer.annotation_id} of {shown.get(answer.seen, answer.seen[:8])}"
        verdict = _verdict(answer)
        right = [row for row in its if row["verdict"] in verdict and _is_mask_of(root, row, answer)]
        if not right and (its or not answer.lost_with_the_tool):
            found.lost.append(f"{name}: {[row['verdict'] for row in its]} in the ledger")
        # A tool that was set back to a backup gives numbers a second time.
        same = {shown.get(a.seen) for a in people.book if a.annotation_id == answer.annotation_id}
        for row in its:
            if row["item_id"].rsplit("/", 1)[0] not in same:
                found.mixed_up.append(f"{name}: recorded under {row['item_id']}")
    found.mixed_up += [
        f"annotation {row['tool_annotation_id']} under {row['item_id']} is nobody's of this book"
        for row in rows
        if row["tool_annotation_id"] not in {answer.annotation_id for answer in people.book}
        and not _is_put_back(root, row, people, shown)
    ]
    versions = Counter((r["tool_annotation_id"], r["updated_at"], r["raw_sha256"]) for r in rows)
    found.doubled += [f"version {key} is {n} rows" for key, n in versions.items() if n > 1]


def _is_put_back(root: Path, row: dict[str, str], people: People, shown: dict[str, str]) -> bool:
    """Whether a row of an unknown annotation repeats an answer that the tool had lost."""
    return any(
        _is_mask_of(root, row, answer)
        for answer in people.book
        if answer.lost_with_the_tool and row["item_id"].startswith(f"{shown.get(answer.seen)}/")
    )


def _verdict(answer: Answer) -> set[str]:
    if answer.skipped:
        return {"skipped"}
    return {"accepted"} if answer.readable else {"quarantined"}


def _is_mask_of(root: Path, row: dict[str, str], answer: Answer) -> bool:
    """Whether the ledger's row stands for what was painted; its PNG is found by its hash."""
    if row["verdict"] != "accepted":
        return True
    name = f"{row['mask_sha256']}.png"
    places = [root / ".ssl-loop/inbox" / name, *root.glob(f"data/*/annotations/**/{name}")]
    masks = [mask for place in places if (mask := read_mask(place)) is not None]
    if masks:
        return any(np.array_equal(mask, answer.mask) for mask in masks)
    # Merged masks may live under their sample's name only.
    return row["mask_sha256"] in _hashes_in_data(root, answer.mask)


def _hashes_in_data(root: Path, mask_HW: Mask) -> set[str]:
    rows = list(csv.DictReader((root / "data/manifest.csv").open(encoding="utf-8")))
    return {
        row["mask_sha256"]
        for row in rows
        if row["mask"]
        and (there := read_mask(root / row["mask"])) is not None
        and np.array_equal(there, mask_HW)
    }


def check_data(root: Path, people: People, samples: list[dict[str, str]], found: Findings) -> None:
    """Merged masks pixel for pixel: the answer that counts, at its own image, and no other."""
    ids = Counter(row["sample_id"] for row in samples)
    found.doubled += [f"{name} is {n} rows of the manifest" for name, n in ids.items() if n > 1]
    wanted = people.wanted()
    known = {truth(a.seen, v).tobytes(): a.seen for a in people.book for v in VARIANTS}
    for row in samples:
        seen, there = pixels(root / row["image"]), read_mask(root / row["mask"])
        answers = wanted.get(seen, [])
        name = row["sample_id"]
        if there is not None and known.get(there.tobytes(), seen) != seen:
            found.mixed_up.append(f"{name} has the mask of another image")
        elif answers and not there_is(there):
            if not answers[-1].lost_with_the_tool:
                found.lost.append(f"{name}: answered, and without a mask")
        elif answers and not np.array_equal(there, answers[-1].mask):
            found.changed.append(f"{name}: the mask is not the one that counts")
        elif not answers and there is not None and there.tobytes() in known:
            found.changed.append(f"{name}: a withdrawn or refused answer is in the data")


def there_is(mask: Mask | None) -> bool:
    return mask is not None


def check_tool(people: People, found: Findings) -> None:
    """Nobody but people takes an answer away."""
    for answer in people.standing():
        if answer.lost_with_the_tool:
            continue
        if not people.tool.exists(f"/api/annotations/{answer.annotation_id}/"):
            found.destroyed.append(f"annotation {answer.annotation_id}")


def ledger_rows(root: Path) -> list[dict[str, str]]:
    with closing(sqlite3.connect(root / ".ssl-loop/ledger.db")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM annotation ORDER BY id")]


def read_mask(path: Path) -> Mask | None:
    if not path.is_file():
        return None
    with Image.open(path) as png:
        return np.asarray(png, dtype=np.uint8)


def as_json(found: Findings) -> str:
    return json.dumps(dict(found))
