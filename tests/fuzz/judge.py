"""Whether a reader kept its word on one file: a value or one error of ours, and in time."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

from db.ledger_errors import LedgerError
from pipeline.errors import SslLoopError
from tests.fuzz.reader import Reader

LIMIT_S = 10.0  # of processor time for one file of at most some 100 kB
WAITING_LIMIT_S = 120.0  # by the clock: on a busy machine seconds pass in which nothing is done
CORPUS = Path(__file__).with_name("corpus")


class HangError(BaseException):
    """Not done within the limits; nothing may catch it."""


class BrokenWordError(AssertionError):
    """A reader raised what it must not, or did not name the file."""


def judge(reader: Reader, folder: Path, raw: bytes) -> bool:
    """Whether the reader took the file; BrokenWordError or HangError when it broke its word."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except (SslLoopError, LedgerError) as error:
        named = reader.named or f"/{path.name}"
        if reader.named is not None and named not in str(error):
            raise BrokenWordError(f"{reader.name}: does not name the file: {error}") from error
        return False
    except Exception as error:
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise BrokenWordError(f"{reader.name}: {what}") from error
    return True


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def late(*_: object) -> None:
        raise HangError

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, LIMIT_S),
        signal.SIGALRM: (signal.ITIMER_REAL, WAITING_LIMIT_S),
    }
    before = {number: signal.signal(number, late) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def keep(reader: Reader, raw: bytes) -> Path:
    """Put a file on which a reader broke its word into the corpus: from now on CI reads it."""
    path = CORPUS / _slug(reader) / hashlib.sha256(raw).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def kept(reader: Reader) -> list[Path]:
    """The corpus of a reader."""
    return sorted((CORPUS / _slug(reader)).glob("*"))


def _slug(reader: Reader) -> str:
    return "".join(c if c.isalnum() else "_" for c in reader.name)
