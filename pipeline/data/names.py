"""What images, domains and classes may be called, and the files of a folder by their names."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import DataError
from pipeline.files import irregular

# A stem becomes part of paths, URLs and the ids people see.
STEM = re.compile(r"[A-Za-z0-9._-]+")
# A file system takes 255 bytes; while a file is written it is called `.NAME.png.PID.tmp`.
MAX_STEM = 200
# Beside data/<domain>/annotations/<stem>/ lies a file of this name: what the tool was sent.
RESERVED_STEMS = ("tool.json",)


class NamedFiles(NamedTuple):
    """The files of a folder."""

    by_stem: dict[str, Path]
    """Sorted."""
    complaints: list[str]
    """One of each file that cannot be an image or a mask by its name or kind."""


def files_by_stem(folder: Path) -> NamedFiles:
    """The files of a folder by their names without endings; hidden ones are not looked at.

    DataError where there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    bad: list[str] = []
    taken: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        # Two names that differ in case alone are one file on some disks.
        if why := why_no_file(path) or bad_stem(path.stem):
            bad.append(f"{path}: {why}")
        elif (other := taken.setdefault(path.stem.casefold(), path)) is not path:
            bad.append(f"{path}: same name as {other.name}; an image's name must be its own")
        else:
            files[path.stem] = path
    return NamedFiles(files, bad)


def bad_stem(stem: str) -> str:
    """Why an image cannot be called so; "" where it can."""
    if not STEM.fullmatch(stem):
        return "name may only have letters A-Z a-z, digits, '.', '_' and '-'"
    if stem.endswith("."):
        return "name ends in a dot, which some disks drop; rename it"
    if len(stem) > MAX_STEM:
        return f"name of {len(stem)} characters, expected at most {MAX_STEM}; rename it"
    if stem.casefold() in RESERVED_STEMS:
        return f"the loop keeps a file called {stem.casefold()} beside its answers; rename it"
    return ""


def near_stem(stem: str) -> str:
    """A name that an image may have: `stem` where that will do, else one like it."""
    near = re.sub(r"[^A-Za-z0-9._-]", "_", stem)[: MAX_STEM - 10]  # room to be told apart
    return f"{near}_" if bad_stem(near) else near


def why_no_file(path: Path) -> str:
    """What `path` is where it is no regular file, links followed; "" where it is one.

    "" too for what cannot be looked at at all: said when it is opened.
    """
    link = f" (a link to {path.readlink()})" if path.is_symlink() else ""
    try:
        kind = irregular(path)
    except OSError as error:
        if not link:
            return ""
        kind = {errno.ENOENT: "nothing", errno.ELOOP: "a loop of links"}.get(
            error.errno or 0, str(error.strerror)
        )
    return f"{kind}{link}, expected the files directly in {path.parent}" if kind else ""


def leads_out(path: Path, folder: Path) -> Path | None:
    """Where a file of `folder` truly lies, when links lead out of `folder` to it; else None."""
    lies, home = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    return None if lies.is_relative_to(home) else lies
