"""What engines hold in memory of the images that people look at. Imports nothing heavy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, Protocol, TypeVar

from pipeline.errors import DataError

Key = tuple[str, int, int]


class _Sized(Protocol):
    @property
    def num_bytes(self) -> int: ...


Held = TypeVar("Held", bound=_Sized)


class RecentImages(Generic[Held]):
    """The last used ones, of so many bytes together; one at least. Safe to use from threads.

    A file that has changed is another image. Only one is made at a time: networks take all cores.
    """

    def __init__(self, most_bytes: int, make: Callable[[Path], Held]) -> None:
        """`make` gives what is to be held of an image's file."""
        self._most, self._make = most_bytes, make
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._lock, self._making = Lock(), Lock()

    def get(self, image: Path) -> Held:
        """What is held of it, made first where nothing is; DataError where there is no file."""
        key = _key(image)
        found = self._look_up(key)
        if found is None:
            with self._making:
                found = self._look_up(key) or self._make(image)
            self._hold(key, found)
        return found

    def _look_up(self, key: Key) -> Held | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def _hold(self, key: Key, value: Held) -> None:
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > 1 and self._num_bytes() > self._most:
                self._held.popitem(last=False)

    def _num_bytes(self) -> int:
        return sum(each.num_bytes for each in self._held.values())


def _key(image: Path) -> Key:
    """Path, size and time of change."""
    try:
        stat = image.stat()
    except OSError as error:
        raise DataError(f"{image}: cannot be read: {error.strerror}") from None
    return str(image), stat.st_size, stat.st_mtime_ns
