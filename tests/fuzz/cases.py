"""From a string of decisions to the content of a file: raw bytes, or a valid file gone wrong.

hypothesis and atheris both make strings of bytes; here each byte decides something, so that one
shrinks and the other follows coverage.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

# What is put where something else was expected. A string that starts with RAW is written bare.
RAW = "\x01"
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    255,
    2**31,
    -(2**63),
    2**64,
    0.5,
    -5.0,
    1e308,
    "",
    "a",
    "day/a",
    "\ud800",
    "nul\0nul",
    "\x85\u2028\u202e",
    "../../etc/passwd",
    "-1",
    "nan",
    "x" * 300,
    [],
    {},
    [[]],
    [None],
    ["a", 1],
    {"": None},
    {"a": {"b": []}},
    f"{RAW}NaN",
    f"{RAW}-Infinity",
    f"{RAW}1e999",
    f"{RAW}{'9' * 5000}",
    f"{RAW}{'[' * 300}{']' * 300}",
    f"{RAW}{'[' * 20000}",
    f"{RAW}{{",
)
TOKENS: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\xff",
    b"\xe4",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\r",
    b"\r\n",
    b'"',
    b",",
    b";",
    b":",
    b"-",
    b"[" * 2000,
    b"{" * 200,
    b"9" * 5000,
    b"1e999",
    b"nan",
    b"x" * 200_000,
    b"&a [*a]",
    b"<<: *a",
    b"\t",
    b"\x1b[31m",
    "\u0661".encode(),  # a digit, but not of ASCII
)
WHOLE: tuple[bytes, ...] = (
    b"",
    b"\n",
    b"\0" * 100,
    b"\xff\xfe",
    b"[" * 50_000,
    b"- " * 20_000,
    b'{"a":' * 5_000,
    b"{}",
    b"[]",
    b"null",
    b"1",
    b'"a"',
    b"a0: &a0 [x, x]\n"
    + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 40)),
)


class Decisions:
    """Bytes, read as choices; where they end the first choice is taken."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def below(self, count: int) -> int:
        """One of `count` choices."""
        width = 1 if count <= 256 else 3
        found = int.from_bytes(self.data[self.at : self.at + width], "big")
        self.at += width
        return found % count

    def of(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return choices[self.below(len(choices))]

    def rest(self) -> bytes:
        """What is left, as it is."""
        return self.data[self.at :]


def content(valid: Sequence[bytes], data: bytes) -> bytes:
    """A file that may be wrong in any way, as `data` decides."""
    choose = Decisions(data)
    way = choose.below(8)
    if way == 0:
        return choose.rest()
    if way == 1:
        return choose.of(WHOLE)
    found: bytes = choose.of(valid)
    for _ in range(1 + choose.below(3)):
        found = (_swapped(found, choose) if way < 5 else None) or _spliced(found, choose)
    if choose.below(40) == 1:
        found = found.decode("utf-8", "replace").encode(
            choose.of(("utf-16", "latin-1", "utf-32")), "replace"
        )
    return found


def _spliced(found: bytes, choose: Decisions) -> bytes:
    """Bytes taken out, put in, said twice or turned, anywhere."""
    start = choose.below(len(found) + 1)
    length = choose.below(min(64, len(found) - start) + 1)
    end = start + length
    how = choose.below(6)
    if how == 0:
        return found[:start] + choose.of(TOKENS) + found[end:]
    if how == 1:
        return found[:start]  # cut short
    if how == 2:
        return found[:end] + found[start:end] * choose.below(5) + found[end:]
    if how == 3:
        return (
            found[:start]
            + bytes(byte ^ (1 << choose.below(8)) for byte in found[start:end])
            + found[end:]
        )
    if how == 4:
        return found[:start] + bytes([choose.below(256)]) + found[start:]
    lines = found.splitlines(keepends=True)
    place = choose.below(len(lines) + 1)
    return b"".join([*lines[:place], *lines[place + choose.below(2) :], *lines[: choose.below(2)]])


def _swapped(found: bytes, choose: Decisions) -> bytes | None:
    """One value of a JSON or CSV file is another; None for what is neither."""
    try:
        text = found.decode()
        return _json(text, choose) if text.lstrip()[:1] in ("{", "[") else _csv(text, choose)
    except (ValueError, csv.Error, RecursionError):
        return None


def _json(text: str, choose: Decisions) -> bytes:
    value = json.loads(text)
    places = list(_places(value))
    if not places:
        return _bare(choose.of(VALUES))
    parent, key = choose.of(places)
    how = choose.below(4)
    if how == 0 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    elif how == 1 and isinstance(parent, dict):
        del parent[key]
    elif how == 1:
        parent *= choose.below(4)
    else:
        parent[key] = choose.of(VALUES)
    return _bare(value)


def _places(value: Any) -> Any:
    for key in (
        list(value)
        if isinstance(value, dict)
        else range(len(value) if isinstance(value, list) else 0)
    ):
        yield value, key
        yield from _places(value[key])


def _bare(value: Any) -> bytes:
    """JSON, with what starts with RAW as it is."""
    parts = json.dumps(value).split('"\\u0001')
    return "".join([parts[0], *(part.replace('"', "", 1) for part in parts[1:])]).encode()


def _csv(text: str, choose: Decisions) -> bytes:
    rows = list(csv.reader(io.StringIO(text)))
    if not any(rows):
        raise ValueError("no cell to change")
    row = choose.of([row for row in rows if row])
    column = choose.below(len(row))
    value = choose.of(VALUES)
    row[column] = value.removeprefix(RAW) if isinstance(value, str) else json.dumps(value)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass")
