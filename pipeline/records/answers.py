"""`metrics/answers.csv`: every answer beside what the teacher had said, one line per query item.

Rewritten by every merge. The audit estimate and people's pace are read from it.
H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from pipeline.files import write_text
from pipeline.ids import domain_of
from pipeline.reading import MOST_DIGITS, Content, Row, content_of, read
from pipeline.records.csv_codec import NUMBER, SHARE, Column, CsvCodec
from pipeline.records.query import Source
from pipeline.row_bands import row_bands
from pipeline.types import IGNORE

Mask = NDArray[np.uint8]
Counts = tuple[
    tuple[int, int, int], ...
]  # (class in truth, class predicted, pixels), all there are
_BYTE = 256  # class indices are bytes


def _counts(row: Row, column: str) -> Counts:
    cells = [tuple(cell.split(":")) for cell in row[column].split()]
    for cell in cells:
        if len(cell) != 3 or not all(p.isdecimal() and len(p) <= MOST_DIGITS for p in cell):
            raise row.wrong(column, "truth:predicted:pixels, each >= 0")
    return tuple((int(t), int(p), int(n)) for t, p, n in cells)


def _counts_text(counts: Counts) -> str:
    return " ".join(":".join(map(str, cell)) for cell in counts)


def _regions(row: Row, column: str) -> int | None:
    number = row.number(column)
    return None if number is None else int(number)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One query item with its answer, or drawn at random and left without one."""

    item_id: str
    """`<domain>/<stem>/r<round_index>`."""
    source: Source
    chance: Annotated[float | None, SHARE]
    """With which it was drawn, in (0, 1]; None where it was chosen, or nobody noted the chance."""
    mask_sha256: str
    """Of the mask that people gave; "" = no answer."""
    counts: Annotated[Counts, Column(_counts, _counts_text)]
    """Pixels by truth and by what the teacher of the asking round said before it could learn from
    the answer; () = no answer, no teacher yet, or only corrections were asked for."""
    lead_s: Annotated[float | None, NUMBER] = None
    """Seconds that the answer took, by the tool's clock."""
    boundary: Annotated[float | None, NUMBER] = None
    """Of the pre-annotation (annotation_time.Shape); None = none was sent, or no answer came."""
    regions: Annotated[int | None, Column(_regions)] = None
    """As `boundary`."""

    @property
    def domain(self) -> str:
        """Of the sample that was asked for."""
        return domain_of(self.item_id)

    @property
    def corrects(self) -> bool:
        """Whether only what was wrong in a pre-annotation was asked for, which is not counted."""
        return self.boundary is not None and not self.counts


_TABLE = CsvCodec(Answer)


def compare(truth_HW: Mask, predicted_HW: Mask) -> Counts:
    """Pixels by (truth, prediction); those that either leaves at IGNORE do not count."""
    cells = np.zeros(_BYTE * _BYTE, dtype=np.int64)
    for rows in row_bands(*truth_HW.shape):  # 16 bytes a pixel are needed on the way
        truth_RW, predicted_RW = truth_HW[rows], predicted_HW[rows]
        valid = (truth_RW != IGNORE) & (predicted_RW != IGNORE)
        found = truth_RW[valid].astype(np.int64) * _BYTE + predicted_RW[valid]
        cells += np.bincount(found, minlength=len(cells))
    return tuple((int(c) // _BYTE, int(c) % _BYTE, int(cells[c])) for c in np.flatnonzero(cells))


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers sorted by item, so that equal contents are equal files."""
    write_text(path, _TABLE.text(sorted(answers, key=lambda row: row.item_id)))


def parse_answers(content: Content, *, source: str = "metrics/answers.csv") -> list[Answer]:
    """The answers of a file; DataError names the line and the value that is wrong."""
    return [answer for _, answer in _TABLE.read(content_of(content, source))]


def read_answers(path: Path) -> list[Answer]:
    """As `parse_answers`; none where nothing was merged yet."""
    return parse_answers(read(path)) if path.exists() else []
