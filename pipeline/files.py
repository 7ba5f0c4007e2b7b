"""Writing files whole or not at all, and by one process at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, WorkspaceError

# What is in a folder beside files; reading a FIFO waits for ever, reading a device may never end.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed over it on success, removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values are equal files."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    # UTF-8 has no lone surrogates; JSON's escape for them is Python's.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def irregular(path: Path) -> str:
    """What `path` is, links followed, where it is no regular file: "a FIFO"; "" for a file.

    OSError where nothing is there.
    """
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading; DataError for anything that might never end or answer.

    OSError as of `open`.
    """
    if kind := irregular(path):
        raise DataError(f"{path}: {kind}, expected a regular file")

    def at_once(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a FIFO put there meanwhile is not waited for

    return open(path, "rb", opener=at_once)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes; DataError for what is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Hold the file `lock`; WorkspaceError saying `busy` while another process does."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceError(busy) from None
        yield
