"""Scan of a watched folder: images, files still being written, and files to leave out."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from flows.watch.log import Version
from pipeline.data.formats.images import load_image
from pipeline.data.names import leads_out, why_no_file
from pipeline.data.quality import look_at, why_unfit
from pipeline.errors import DataError
from pipeline.files import sha256_file

SETTLED_S = 2.0  # unchanged for so long: written to its end
PATIENCE_S = 60.0  # what cannot be read by then is no image


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A file that the log has no line about yet."""

    path: Path
    version: Version
    quiet_s: float
    """Since the file last changed in any way, its name included."""

    @property
    def settled(self) -> bool:
        """Whether it can be looked at."""
        return self.quiet_s >= SETTLED_S


@dataclass(frozen=True, kw_only=True)
class ScannedFile:
    """A decoded file: an image, or the reason why it is left out."""

    why: str
    """Why it is left out; "" for an image to score."""
    sha256: str = ""


def arrivals(folder: Path, known: Collection[Version], now: float) -> list[Arrival]:
    """Files directly in `folder` that are new, oldest first; hidden ones are not looked at.

    DataError where there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the one that images are dropped into")
    found = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        try:
            seen = _seen(path)
        except FileNotFoundError:  # moved away meanwhile
            continue
        changed = (0, 0) if stat.S_ISDIR(seen.st_mode) else (seen.st_size, seen.st_mtime_ns)
        version = (path.name, *changed)
        if version not in known:
            # By the time of the inode: what is moved or copied in may bring an old date along.
            found.append(Arrival(path=path, version=version, quiet_s=now - seen.st_ctime))
    return sorted(found, key=lambda arrival: (arrival.version[2], arrival.version[0]))


def _seen(path: Path) -> os.stat_result:
    """Of the file that links lead to; of the link, where they lead to none."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()


def inspect(arrival: Arrival, usual_sharpness: float, max_megapixels: float) -> ScannedFile | None:
    """What is in the file; None while it may still be being written."""
    path = arrival.path
    try:
        if why := why_no_file(path):
            return ScannedFile(why=why)
        if lies := leads_out(path, path.parent):
            return ScannedFile(
                why=f"a link out of the watched folder, to {lies}: copy the image there"
            )
        digest = sha256_file(path)
        with warnings.catch_warnings():  # alpha, 12 bits: as at ingest, where they are notes
            warnings.simplefilter("ignore", UserWarning)
            image_HWC = load_image(path, max_megapixels)
        changed = (path.stat().st_size, path.stat().st_mtime_ns) != arrival.version[1:]
    except FileNotFoundError:
        return None
    except (DataError, OSError) as error:
        said = str(error).removeprefix(f"{path}: ")
        return None if arrival.quiet_s < PATIENCE_S else ScannedFile(why=f"cannot be read: {said}")
    if changed:
        return None
    return ScannedFile(why=why_unfit(look_at(image_HWC), usual_sharpness), sha256=digest)
