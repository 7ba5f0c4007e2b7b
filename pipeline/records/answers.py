"""`metrics/answers.csv`: every answer beside what the teacher had said, one line per query item.

Rewritten by every merge. The audit estimate and people's pace are read from it.
H height, W width.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.files import write_text
from pipeline.ids import domain_of
from pipeline.reading import MOST_DIGITS, Content, Document, Row, content_of, read
from pipeline.records.query import Source
from pipeline.types import IGNORE

Mask = NDArray[np.uint8]
Counts = tuple[
    tuple[int, int, int], ...
]  # (class in truth, class predicted, pixels), all there are
_BYTE = 256  # class indices are bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One query item with its answer, or drawn at random and left without one."""

    item_id: str
    """`<domain>/<stem>/r<round_index>`."""
    source: Source
    chance: float | None
    """With which it was drawn, in (0, 1]; None where it was chosen, or nobody noted the chance."""
    mask_sha256: str
    """Of the mask that people gave; "" = no answer."""
    counts: Counts
    """Pixels by truth and by what the teacher of the asking round said before it could learn from
    the answer; () = no answer, or no teacher yet."""
    lead_s: float | None = None
    """Seconds that the answer took, by the tool's clock."""
    boundary: float | None = None
    """Of the pre-annotation (annotation_time.Shape); None = none was sent, or no answer came."""
    regions: int | None = None
    """As `boundary`."""

    @property
    def domain(self) -> str:
        """Of the sample that was asked for."""
        return domain_of(self.item_id)


COLUMNS = tuple(field.name for field in fields(Answer))


def compare(truth_HW: Mask, predicted_HW: Mask) -> Counts:
    """Pixels by (truth, prediction); those that either leaves at IGNORE do not count."""
    valid = (truth_HW != IGNORE) & (predicted_HW != IGNORE)
    cells = np.bincount(truth_HW[valid].astype(np.int64) * _BYTE + predicted_HW[valid])
    return tuple((int(c) // _BYTE, int(c) % _BYTE, int(cells[c])) for c in np.flatnonzero(cells))


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers sorted by item, so that equal contents are equal files."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")  # None is an empty cell
    writer.writeheader()
    for row in sorted(answers, key=lambda row: row.item_id):
        counts = " ".join(":".join(map(str, cell)) for cell in row.counts)
        writer.writerow(asdict(row) | {"counts": counts})
    write_text(path, file.getvalue())


def parse_answers(content: Content, *, source: str = "metrics/answers.csv") -> list[Answer]:
    """The answers of a file; DataError names the line and the value that is wrong."""
    return _answers(content_of(content, source))


def read_answers(path: Path) -> list[Answer]:
    """As `parse_answers`; none where nothing was merged yet."""
    return _answers(read(path)) if path.exists() else []


def _answers(document: Document) -> list[Answer]:
    return [_answer(row) for row in document.table(COLUMNS)]


def _answer(row: Row) -> Answer:
    regions = row.number("regions")
    return Answer(
        item_id=row["item_id"],
        source=row.one_of("source", get_args(Source)),
        chance=row.number("chance", 0, 1, above=True),
        mask_sha256=row["mask_sha256"],
        counts=_counts(row),
        lead_s=row.number("lead_s"),
        boundary=row.number("boundary"),
        regions=None if regions is None else int(regions),
    )


def _counts(row: Row) -> Counts:
    cells = [tuple(cell.split(":")) for cell in row["counts"].split()]
    for cell in cells:
        if len(cell) != 3 or not all(p.isdecimal() and len(p) <= MOST_DIGITS for p in cell):
            raise row.wrong("counts", "truth:predicted:pixels, each >= 0")
    return tuple((int(t), int(p), int(n)) for t, p, n in cells)
