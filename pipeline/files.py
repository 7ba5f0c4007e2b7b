"""Writing files whole or not at all, and by one process at a time.

What cannot be written is said in one line: the file, why, and how much space there is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.errors import DataError, SslLoopError, WorkspaceError

# What is in a folder beside files; reading a FIFO waits for ever, reading a device may never end.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What the disk or its owner says, whichever file of a step it happens at.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_NEARLY_NOTHING = 64 * 1024  # bytes: with so few left, a failure to write is for want of space


@contextmanager
def replacing(path: Path, needs: int | None = None) -> Iterator[Path]:
    """A path beside `path` to write to; renamed over it on success, removed on failure.

    WorkspaceError when it cannot be written, with the bytes that it `needs` where they are known.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except Exception as error:
        if _is_of_writing(error, path, beside):
            with suppress(OSError):
                beside.unlink(missing_ok=True)  # what was written of it is free again
            raise not_written(path, error, needs) from error
        raise
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _is_of_writing(error: Exception, path: Path, beside: Path) -> bool:
    """Whether it is about the file to be written, and not about one that it is made of."""
    if isinstance(error, SslLoopError):
        return False
    if isinstance(error, OSError):
        mine = {None, str(beside), str(path), *map(str, path.parents)}
        named = {None if name is None else os.fsdecode(name) for name in _names(error)}
        return error.errno in _NO_SPACE or (error.errno is not None and named <= mine)
    # torch, safetensors and others say a full disk in types of their own.
    return free_space(path) < _NEARLY_NOTHING


def _names(error: OSError) -> list[Any]:
    named = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return named or [None]


def not_written(path: Path, error: BaseException, needs: int | None = None) -> WorkspaceError:
    """The error to raise for a file that could not be written, in one line."""
    number = error.errno if isinstance(error, OSError) else errno.ENOSPC
    reason = os.strerror(number) if number else " ".join(str(error).split())
    if number in _NO_SPACE:
        wanted = "" if needs is None else f", {_size(needs)} needed"
        reason += f" ({_size(free_space(path))} free there{wanted})"
        remedy = "make space and try again"
    elif number in _FORBIDDEN:
        remedy = "make it and its folder writable for you and try again"
    else:
        remedy = "see that its folder is there and writable, and try again"
    return WorkspaceError(f"{path}: cannot be written: {reason}; {remedy}")


def free_space(path: Path) -> int:
    """Bytes that may still be written where `path` is to lie."""
    for folder in path.absolute().parents:
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0


def _size(count: int) -> str:
    if count < 10 * 1024:
        return f"{count} bytes"
    return f"{count / 1024:,.0f} KiB" if count < 10 * 2**20 else f"{count / 2**20:,.0f} MiB"


def failure_words(error: OSError) -> str:
    """An error of the system that nobody foresaw, in one line with what to do."""
    if error.errno in _NO_SPACE | _FORBIDDEN and error.filename is not None:
        return str(not_written(Path(os.fsdecode(error.filename)), error))
    what = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    if error.errno in _NO_SPACE:
        free = _size(free_space(Path.cwd() / "a file"))
        return f"{what}{error.strerror} ({free} free here); make space and try again"
    return f"{what}{error.strerror or error}; see that it is there and yours to read and write"


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, on the disk when this returns: all of `content`, or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise not_written(path, error, len(content)) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    raw = text.encode()
    with replacing(path, len(raw)) as beside:
        beside.write_bytes(raw)


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
def file_lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Exclusive lock on the file `path`: True with it, False while another holds it.

    With `wait` it is waited for. The kernel gives it back when its holder dies, however it dies;
    the file stays, with whatever is in it. WorkspaceError when it cannot be opened for writing.
    """
    # Without flock(2), filelock would fall back to a lock that outlives a killed holder.
    lock = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:  # an OSError too
        yield False
        return
    except OSError as error:
        raise not_written(path, error) from error
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Hold the file `lock`; WorkspaceError saying `busy` while another process does."""
    with file_lock(lock) as ours:
        if not ours:
            raise WorkspaceError(busy)
        yield
