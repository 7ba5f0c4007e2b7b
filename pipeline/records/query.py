"""`query.csv`: the samples chosen in one round, with rank, score and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol

from pipeline.files import write_text
from pipeline.reading import Content, Document, Row, content_of, read
from pipeline.records.csv_codec import NUMBER, SHARE, Column, CsvCodec
from pipeline.records.regions import Box, boxes_text, parse_boxes

Source = Literal["strategy", "audit", "cold_start"]
Region = tuple[str, Box]  # sample_id and where in it


def _decimals(count: int) -> Callable[[Any], str]:
    return lambda value: "" if value is None else f"{value:.{count}f}"


def _score(row: Row, column: str) -> float:
    score = row.number(column, 0, 1)
    if score is None:
        raise row.wrong(column, "a number in [0, 1]")
    return score


def _boxes(row: Row, column: str) -> tuple[Box, ...]:
    return parse_boxes(row[column], row.where)


class Chosen(Protocol):
    """What a query says of a sample, as a strategy picked it."""

    @property
    def sample_id(self) -> str:
        """Of the pool."""

    @property
    def score(self) -> float:
        """In [0, 1]."""

    @property
    def reason(self) -> str:
        """In words."""

    @property
    def source(self) -> Source:
        """Why it is there."""


@dataclass(frozen=True, kw_only=True)
class QueryRow:
    """One line of query.csv."""

    rank: int
    """From 1, the first to be annotated."""
    sample_id: str
    score: Annotated[float, Column(_score, _decimals(6))]
    """In [0, 1], higher = sooner."""
    source: Source
    reason: str
    regions: Annotated[tuple[Box, ...], Column(_boxes, boxes_text)] = ()
    """Which parts to annotate, one a row as `acquire` writes them; () = the whole image."""
    chance: Annotated[float | None, Column(SHARE.read, _decimals(9))] = None
    """With which an audit pick was drawn, in (0, 1]; None where it was chosen."""
    minutes: Annotated[float | None, Column(NUMBER.read, _decimals(2))] = None
    """Of people's time that it is expected to take (pipeline/campaign/annotation_time.py)."""


@dataclass(frozen=True, kw_only=True)
class QueryImage:
    """All rows of one image: what people are asked for at once, in one task."""

    rank: int
    """From 1, the first image to be annotated."""
    rows: tuple[QueryRow, ...]
    """At least one, in their order."""

    @property
    def sample_id(self) -> str:
        """The image."""
        return self.rows[0].sample_id

    @property
    def score(self) -> float:
        """The highest."""
        return self.rows[0].score

    @property
    def source(self) -> Source:
        """Of the row with the highest score."""
        return self.rows[0].source

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Which parts to annotate; () = the whole image."""
        return tuple(box for row in self.rows for box in row.regions)

    @property
    def reason(self) -> str:
        """In words."""
        first = self.rows[0].reason
        return first if len(self.rows) == 1 else f"{len(self.rows)} regions, first: {first}"

    @property
    def minutes(self) -> float | None:
        """Of people's time that it is expected to take; None where that is not known."""
        known = [row.minutes for row in self.rows if row.minutes is not None]
        return sum(known) if known else None


# Queries of older rounds lack the last two.
_TABLE = CsvCodec(QueryRow, optional=("chance", "minutes"))


def write_query(
    path: Path,
    picks: Sequence[Chosen],
    *,
    num_candidates: int,
    minutes: Mapping[str, float] = MappingProxyType({}),
    regions: Mapping[str, Region] = MappingProxyType({}),
) -> None:
    """Write picks in their order; scores have 6 decimals, so that equal queries are equal files.

    `num_candidates` is what the audit picks were drawn from, each with the same chance; `minutes`
    is what each is expected to take; `regions` says which image and box an id means that is no
    sample's own.
    """
    num_drawn = sum(pick.source == "audit" for pick in picks)
    rows = []
    for rank, pick in enumerate(picks, start=1):
        name, *boxes = regions.get(pick.sample_id, (pick.sample_id,))
        rows.append(
            QueryRow(
                rank=rank,
                sample_id=name,
                score=pick.score,
                source=pick.source,
                reason=pick.reason,
                regions=tuple(boxes),
                chance=num_drawn / num_candidates if pick.source == "audit" else None,
                minutes=minutes.get(pick.sample_id),
            )
        )
    write_text(path, _TABLE.text(rows))


def parse_query(content: Content, *, source: str = "query.csv") -> list[QueryRow]:
    """The rows of a query.csv, rank 1 first; DataError names the line and the value."""
    return _rows(content_of(content, source))


def read_query(path: Path) -> list[QueryRow]:
    """As `parse_query`; nothing where there is no file yet."""
    return _rows(read(path)) if path.exists() else []


def by_image(rows: Iterable[QueryRow]) -> list[QueryImage]:
    """The rows image by image, in the order in which the images come up first."""
    found: dict[str, list[QueryRow]] = {}
    for row in rows:
        found.setdefault(row.sample_id, []).append(row)
    return [
        QueryImage(rank=rank, rows=tuple(of_image))
        for rank, of_image in enumerate(found.values(), start=1)
    ]


def _rows(document: Document) -> list[QueryRow]:
    rows = []
    for place, (line, row) in enumerate(_TABLE.read(document), start=1):
        if row.rank != place:
            what = f"rank {row.rank} at place {place}, expected 1, 2, 3, ..."
            raise document.wrong(what, line.line)
        rows.append(row)
    return rows
