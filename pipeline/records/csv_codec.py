"""CSV codec of a dataclass: a column for each field, read and written as the field's type says.

A str is the cell itself, an int a whole number of at least 0, a Literal one of its values; what a
type does not say, a `Column` in its `Annotated` does. Imports nothing heavy.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from pipeline.reading import Document, Row

Record = TypeVar("Record")


@dataclass(frozen=True)
class Column:
    """How a field stands in a cell."""

    read: Callable[[Row, str], Any]
    """The value of the column of that name; raises `row.wrong` for what is none."""
    text: Callable[[Any], object] = lambda value: value
    """What to write; None is an empty cell."""


def _not_empty(row: Row, name: str) -> str:
    if not row[name]:
        raise row.wrong(name, "something")
    return row[name]


NOT_EMPTY = Column(_not_empty)
NUMBER = Column(lambda row, name: row.number(name))  # of at least 0; None = empty
SHARE = Column(lambda row, name: row.number(name, 0, 1, above=True))  # in (0, 1]; None = empty


class CsvCodec(Generic[Record]):
    """Rows of a CSV file as dataclasses of one type, and back."""

    def __init__(self, form: type[Record], *, optional: Collection[str] = ()) -> None:
        """`optional` columns may lack; an empty cell is read for each."""
        hints = get_type_hints(form, include_extras=True)
        self._form, self._optional = form, optional
        self._columns = {f.name: _column(hints[f.name]) for f in fields(form)}  # type: ignore[arg-type]

    def read(self, document: Document) -> Iterator[tuple[Row, Record]]:
        """Each line with its record; DataError names the line and the value that is wrong."""
        for row in document.table(tuple(self._columns), optional=self._optional):
            cells = {name: column.read(row, name) for name, column in self._columns.items()}
            yield row, self._form(**cells)

    def text(self, records: Iterable[Record], *, without: Collection[str] = ()) -> str:
        """The file of these records in their order, some columns left out."""
        columns = {name: column for name, column in self._columns.items() if name not in without}
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for record in records:
            writer.writerow(column.text(getattr(record, name)) for name, column in columns.items())
        return file.getvalue()


def _column(hint: Any) -> Column:
    if get_origin(hint) is Annotated:
        return next(part for part in get_args(hint) if isinstance(part, Column))
    if get_origin(hint) is Literal:
        return Column(lambda row, name: row.one_of(name, get_args(hint)))
    return {str: Column(Row.__getitem__), int: Column(Row.whole)}[hint]
