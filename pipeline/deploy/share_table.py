"""images.csv of a folder of predictions: which image is which mask, and the share of each class.

A row is added once all files of its image are written, so that it also says what is done.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.deploy.given_images import key_of
from pipeline.files import append, write_text
from pipeline.reading import content_of, read

COLUMNS = ("image", "time_s", "image_sha256", "mask", "height", "width")
SHARE = "share_"
_REMEDY = "remove it to predict all images again"


@dataclass(frozen=True, kw_only=True)
class ImageShares:
    """One image that was predicted."""

    image: str
    """Absolute path."""
    due_s: float | None
    """Of a frame, in seconds; None for an image."""
    image_sha256: str
    mask: str
    """Name of its PNGs, without the ending."""
    size: tuple[int, int]
    """Height and width in pixels."""
    shares: tuple[float, ...]
    """Of each class among all pixels, in [0, 1]."""

    @property
    def key(self) -> str:
        """By which the image is known again."""
        return key_of(Path(self.image), self.due_s)


class ShareTable:
    """The file, its rows in memory by image."""

    def __init__(self, file: Path, classes: Sequence[str]) -> None:
        """Read what is there; half a last line is left out. DataError for a file that no run with
        these classes wrote."""
        self._file = file
        self._columns = [*COLUMNS, *(f"{SHARE}{name}" for name in classes)]
        self._waiting: list[ImageShares] = []
        self._replaced = not file.exists()
        self.rows: dict[str, ImageShares] = {row.key: row for row in self._read()}
        """By key."""
        self.flush()

    def add(self, row: ImageShares) -> None:
        """In memory at once, in the file with `flush`; in the place of the image's row before."""
        self._replaced |= row.key in self.rows
        self.rows[row.key] = row
        self._waiting.append(row)

    def flush(self) -> None:
        """All rows are on the disk when this returns."""
        if self._replaced:
            write_text(self._file, self._text([self._columns, *map(_cells, self.rows.values())]))
        elif self._waiting:
            append(self._file, self._text(map(_cells, self._waiting)).encode())
        self._replaced = False
        self._waiting.clear()

    def _read(self) -> list[ImageShares]:
        if not self._file.exists():
            return []
        raw = read(self._file, remedy=_REMEDY).raw
        whole = raw[: raw.rfind(b"\n") + 1]  # the machine may have died within a line
        self._replaced |= len(whole) < len(raw) or not whole
        if not whole:
            return []
        document = content_of(whole, str(self._file), remedy=_REMEDY)
        return [
            ImageShares(
                image=row["image"],
                due_s=row.number("time_s"),
                image_sha256=row["image_sha256"],
                mask=row["mask"],
                size=(row.whole("height"), row.whole("width")),
                shares=tuple(row.number(name, most=1.0) or 0.0 for name in self._columns[6:]),
            )
            for row in document.table(self._columns)
        ]

    def _text(self, rows: Iterable[Sequence[object]]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()


def _cells(row: ImageShares) -> list[object]:
    due_s = "" if row.due_s is None else f"{row.due_s:.3f}"
    shares = [f"{share:.6f}" for share in row.shares]
    return [row.image, due_s, row.image_sha256, row.mask, *row.size, *shares]
