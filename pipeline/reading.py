"""What lies in a file, before anybody believes it: a value, or one line with file, place, remedy.

Every text, JSON, YAML and CSV file of a workspace is read here, whether from the disk or as git has
it: UTF-8 whatever the locale, one kind of line end, and nothing but an error of ours for a file in
another encoding, a folder in its place, another shape, or something far too large. Imports nothing
heavy.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pipeline.errors import DataError, SslLoopError
from pipeline.files import irregular, open_regular

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from ruamel.yaml import YAML

T = TypeVar("T")

LIMIT_BYTES = 128 * 2**20  # a manifest of half a million images; a link to a device has no end
DEEPEST = 60  # blocks in blocks; beyond, later steps would run out of stack
YAML_LIMIT_BYTES = 4 * 2**20  # its parser takes seconds for each of them
MOST_DIGITS = 18  # of a whole number in a table: 64 bits hold it
LARGEST = 1e12  # of a number in a table: sums and squares of it are numbers still
SHOWN = 60  # characters of a wrong value
LONGEST = 200  # of what a parser has to say
AGAIN = "mend it and try again"
REMADE = "remove it: it is made again"
IN_GIT = "mend it, or `git restore` it: git has the last good one"
# The usual limit of a cell, 128 KiB, is less than what a comparison of 200 classes needs.
csv.field_size_limit(LIMIT_BYTES)


@dataclass(frozen=True, kw_only=True)
class Document:
    """The bytes of one file, and how to speak of them when they are wrong."""

    raw: bytes = field(repr=False)
    source: str
    """What errors call it: a path, or a path at a tag."""
    remedy: str = IN_GIT
    error: type[SslLoopError] = DataError
    secret: bool = False
    """Whether no value of it may be shown."""

    def wrong(self, what: str, line: int | None = None) -> SslLoopError:
        """The error to raise, in one line."""
        place = self.source if line is None else f"{self.source}:{line}"
        return self.error(f"{place}: {' '.join(what.split())}; {self.remedy}")

    def text(self) -> str:
        """As UTF-8, a byte order mark left out, with "\\n" at the end of lines."""
        try:
            text = self.raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.raw.count(b"\n", 0, error.start) + 1
            byte = self.raw[error.start]
            raise self.wrong(f"is not UTF-8 text: byte 0x{byte:02x}", line) from None
        if (at := text.find("\0")) >= 0:
            raise self.wrong("a NUL character (U+0000), expected text", text.count("\n", 0, at) + 1)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def json(self, form: type[T], *, lenient: bool = False) -> T:
        """The JSON value as a `form`: a dataclass, dict[str, Any], list[str] and the like.

        `lenient` lets NaN, infinities and characters through that no text can hold: what a tool
        sent is kept as it was sent.
        """
        try:
            value = json.loads(
                self.text(),
                parse_int=_whole,
                parse_float=None if lenient else _finite,
                parse_constant=None if lenient else _no_number,
            )
        except json.JSONDecodeError as error:
            place = f"column {error.colno}: {error.msg}"
            raise self.wrong(f"not valid JSON, {place}", error.lineno) from None
        except RecursionError:
            raise self.wrong("nested too deeply") from None
        except ValueError as error:
            raise self.wrong(str(error)) from None
        self._require_shallow(value)
        if not lenient:
            self._require_text(value)
        return self.typed(value, form)

    def yaml(self, parser: YAML | None = None) -> Any:
        """The YAML file's mapping.

        By a parser of one's own it may keep more than values: comments, order, quotes.
        """
        value = self.yaml_value(parser)
        if not isinstance(value, dict):
            raise self.wrong(f"expected a mapping of keys, got {type(value).__name__}")
        return value

    def yaml_value(self, parser: YAML | None = None) -> Any:
        """Whatever the YAML text says."""
        # Here and not above: `ssl-loop --help` reads no YAML.
        from ruamel.yaml.error import MarkedYAMLError

        from pipeline.yaml_text import load_yaml

        if len(self.raw) > YAML_LIMIT_BYTES:
            raise self.wrong(f"{len(self.raw)} bytes, expected at most {YAML_LIMIT_BYTES}")
        try:
            value = load_yaml(self.text(), parser)
        except SslLoopError:
            raise
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = None if mark is None else mark.line + 1
            raise self.wrong(f"not valid YAML: {error.problem or error.context}", line) from None
        except Exception as error:  # of a damaged file the parser raises whatever it runs into
            raise self.wrong(f"not valid YAML: {str(error)[:LONGEST]}") from None
        self._require_text(value)
        return value

    def typed(self, value: Any, form: type[T]) -> T:
        """A plain value as a `form`; names the key that is not."""
        from pydantic import ValidationError

        try:
            return cast(T, _adapter(form).validate_python(value))  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"]))[:SHOWN] or "the whole"
            hidden = self.secret or first["type"] == "missing"
            got = "" if hidden else f", got {_short(first['input'])}"
            more = error.error_count() - 1
            others = f" (and {more} more)" if more else ""
            raise self.wrong(f"{key}: {first['msg'].lower()}{got}{others}") from None
        except RecursionError:
            raise self.wrong("nested too deeply") from None

    def table(
        self,
        columns: Sequence[str],
        *,
        optional: Collection[str] = (),
        others: bool = False,
        stripped: bool = False,
    ) -> list[Row]:
        """The rows of a CSV file, each with a cell for every column; blank lines do not count.

        `optional` columns of it may lack, and unknown ones are there with `others` only. With
        `stripped` blanks around cells are no part of them.
        """
        reader = csv.reader(io.StringIO(self.text()), strict=True, skipinitialspace=stripped)
        rows: list[Row] = []
        names: list[str] = []
        try:
            for cells in reader:
                if not cells:
                    continue
                if stripped:
                    cells = [cell.strip() for cell in cells]
                if not names:
                    names = self._columns(cells, columns, optional, others=others)
                    continue
                if len(cells) != len(names) and not (stripped and len(cells) < len(names)):
                    raise self.wrong(f"{len(cells)} cells, expected {len(names)}", reader.line_num)
                cells += [""] * (len(names) - len(cells))
                rows.append(Row(self, reader.line_num, dict(zip(names, cells, strict=True))))
        except csv.Error as error:
            raise self.wrong(f"not valid CSV: {error}", reader.line_num) from None
        if not names:
            self._columns([], columns, optional, others=others)
        return rows

    def _columns(
        self, found: list[str], columns: Sequence[str], optional: Collection[str], *, others: bool
    ) -> list[str]:
        absent = set(columns) - set(found) - set(optional)
        twice = len(set(found)) < len(found)
        if absent or twice or (not others and set(found) - set(columns)):
            wanted = f"at least {' and '.join(columns)}" if others else ",".join(columns)
            raise self.wrong(f"columns {','.join(found)[:300]}, expected {wanted}")
        return found

    def _require_shallow(self, value: Any) -> None:
        depth, level = 0, [value]
        while level:
            depth += 1
            if depth > DEEPEST:
                raise self.wrong(f"nested more than {DEEPEST} deep")
            level = [one for each in level for one in _inner(each) if isinstance(one, dict | list)]

    def _require_text(self, value: Any) -> None:
        """Every string is one that files and databases can hold."""
        todo = [value]
        while todo:
            each = todo.pop()
            if isinstance(each, str) and not is_text(each):
                raise self.wrong(f"{_short(each)}: a NUL character or half a character, no text")
            todo += [one for one in _inner(each) if not isinstance(one, int | float)]
            todo += each if isinstance(each, dict) else ()


Content = bytes | str | Document


@dataclass(frozen=True)
class Row:
    """One line of a table, its cells by column."""

    document: Document
    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """The cell; "" where the line or the table has none."""
        return self.cells.get(column, "")

    @property
    def where(self) -> str:
        """As errors name it."""
        return f"{self.document.source}:{self.line}"

    def wrong(self, column: str, expected: str) -> SslLoopError:
        """The error to raise for a cell."""
        what = f"{column} {_quoted(self[column])}, expected {expected}"
        return self.document.wrong(what, self.line)

    def one_of(self, column: str, allowed: Sequence[str]) -> Any:
        """The cell, which is one of `allowed`."""
        if self[column] not in allowed:
            raise self.wrong(column, f"one of {', '.join(map(repr, allowed))}")
        return self[column]

    def whole(self, column: str) -> int:
        """The cell as a whole number of at least 0."""
        digits = self[column]
        if not (digits.isdecimal() and len(digits) <= MOST_DIGITS):
            raise self.wrong(column, "a whole number")
        return int(digits)

    def number(
        self, column: str, least: float = 0.0, most: float = math.inf, *, above: bool = False
    ) -> float | None:
        """The cell as a number from `least` (or `above` it) to `most`; None where it is empty."""
        if not self[column]:
            return None
        try:
            value = float(self[column])
        except ValueError:
            value = math.nan
        if abs(value) <= LARGEST and least <= value <= most and not (above and value == least):
            return value
        if above:
            raise self.wrong(column, f"a number above {least:g}, at most {most:g}")
        end = f"in [{least:g}, {most:g}]" if most < math.inf else f"of at least {least:g}"
        raise self.wrong(column, f"a number {end}")


def read(
    path: Path,
    *,
    remedy: str = IN_GIT,
    error: type[SslLoopError] = DataError,
    absent: str = "",
    secret: bool = False,
) -> Document:
    """The file at `path`; an error of type `error` when there is none, saying `absent` instead."""
    document = Document(raw=b"", source=str(path), remedy=remedy, error=error, secret=secret)
    try:
        if kind := irregular(path):
            raise document.wrong(f"{kind}, expected a regular file")
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LIMIT_BYTES:
                raise document.wrong(f"{size} bytes, expected at most {LIMIT_BYTES}")
            return replace(document, raw=file.read(LIMIT_BYTES))
    except FileNotFoundError:
        raise error(f"{path}: no such file; {absent or remedy}") from None
    except OSError as failure:
        raise document.wrong(f"cannot be read: {failure.strerror}") from None


def content_of(
    content: Content,
    source: str,
    *,
    remedy: str = IN_GIT,
    error: type[SslLoopError] = DataError,
) -> Document:
    """Bytes or text that are at hand, as a document; a document stays what it is."""
    if isinstance(content, Document):
        return content
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return Document(raw=raw, source=source, remedy=remedy, error=error)


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8 and kept by any database."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(form)


def _whole(digits: str) -> int:
    value = int(digits) if len(digits) <= MOST_DIGITS + 2 else 2**64
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"number {_short(digits)}: more than 64 bits hold")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"number {_short(digits)}: larger than any number here")
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name}: no number of JSON")


def _inner(value: Any) -> Collection[Any]:
    """What a list or mapping holds."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | set) else ()


def _quoted(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _short(value: object, length: int = SHOWN) -> str:
    """On one line, and never long: what is behind a few aliases may fill the memory if shown."""
    if isinstance(value, str):
        return _quoted(value)
    if inner := _inner(value):
        return f"a {type(value).__name__} of {len(inner)}"
    shown = " ".join(str(value).split())
    return shown if len(shown) <= length else f"{shown[:length]}..."
