"""Names of the PNGs of images that may lie in several folders: the image's own, if it is free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.data.names import MAX_STEM


class MaskNames:
    """Gives each image a name without an ending; no two are one file on any disk."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """`taken` by images of an earlier run."""
        self._taken = {name.casefold() for name in taken}

    def give(self, path: Path, due_s: float | None = None) -> str:
        """`street` for street.jpg, `clip_12.500s` for a frame; with its folders' names before it,
        then with a number behind it, where another image has that name."""
        for name in _candidates(path, "" if due_s is None else f"_{due_s:09.3f}s"):
            if name.casefold() not in self._taken:
                self._taken.add(name.casefold())
                return name
        raise AssertionError("numbers do not end")


def _candidates(path: Path, suffix: str) -> Iterator[str]:
    name = path.stem
    yield _cut(name, suffix)
    for folder in path.parents:
        if not folder.name:
            break
        name = f"{folder.name}_{name}"
        yield _cut(name, suffix)
    number = 2
    while True:
        yield _cut(path.stem, f"{suffix}_{number}")
        number += 1


def _cut(name: str, suffix: str) -> str:
    """No longer than file systems take, beside what is added while a file is written."""
    return name.encode()[: MAX_STEM - len(suffix)].decode(errors="ignore") + suffix
