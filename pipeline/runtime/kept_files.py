"""Arrays on disk that can be made again at any time: bounded, whole or not there at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import WorkspaceError
from pipeline.files import replacing
from pipeline.runtime.progress import say

KEPT = "*.npy"


class KeptArrays:
    """.npy files under one folder, a limited number of bytes of them all together.

    What came first stays: with random access over more than the limit, throwing out the oldest
    would keep nothing useful. With `make_room` what was last used before this object was made goes
    where there is no room, the longest unused first.
    """

    def __init__(
        self, folder: Path, limit_gib: float, what: str, *, make_room: bool = False
    ) -> None:
        """`what` they are, for the sentence that says that the disk is full."""
        self._folder, self._what = folder, what
        self._made = time.time()
        self._sizes = {file: file.stat().st_size for file in folder.rglob(KEPT)}
        self._free_bytes = int(limit_gib * 2**30) - sum(self._sizes.values())
        self._make_room = make_room

    def read(
        self, file: Path, dtype: type[np.generic], *, mapped: bool
    ) -> NDArray[np.generic] | None:
        """The array of a file, or `mapped` from it; None unless it is whole and of `dtype`.

        What is mapped may be written to: that never reaches the file.
        """
        try:
            found = np.load(file, mmap_mode="c" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if self._make_room:
            with suppress(OSError):  # somebody else's workspace
                file.touch()
        return found if found.dtype == dtype else None

    def write(self, file: Path, num_bytes: int, fill: Callable[[BufferedWriter], None]) -> bool:
        """Whether `fill` wrote a file of about `num_bytes`; not where that is beyond the limit."""
        self._free_bytes += self._sizes.pop(file, 0)  # a damaged one
        if self._make_room:
            self._remove_unused(num_bytes)
        if num_bytes > self._free_bytes:
            return False
        try:
            with replacing(file, num_bytes) as beside, beside.open("wb") as out:
                fill(out)
        except WorkspaceError as error:  # a help, and no reason to lose a training
            self._free_bytes = 0
            say(f"{error}; no more {self._what} are kept until then")
            return False
        self._sizes[file] = num_bytes
        self._free_bytes -= num_bytes
        return True

    def drop_all_but(self, folder: Path) -> None:
        """Remove every folder beside `folder`."""
        for other in self._folder.glob("*"):
            if other != folder and other.is_dir():
                for file in other.rglob(KEPT):
                    self._free_bytes += self._sizes.pop(file, 0)
                shutil.rmtree(other)

    def _remove_unused(self, num_bytes: int) -> None:
        if num_bytes <= self._free_bytes:
            return
        used = sorted((file.stat().st_mtime, file) for file in self._sizes if file.exists())
        for when, file in used:
            if num_bytes <= self._free_bytes or when >= self._made:
                return
            file.unlink(missing_ok=True)
            self._free_bytes += self._sizes.pop(file)
