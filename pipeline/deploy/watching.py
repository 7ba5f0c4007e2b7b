"""`ssl-loop predict --watch`: what arrives in folders is predicted, until somebody ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.deploy.folder_run import FolderRun
from pipeline.deploy.given_images import files_named
from pipeline.errors import DataError

SETTLED_S = 2.0  # unchanged for so long: written to its end
LOOK_EVERY_S = 1.0


def watch(
    run: FolderRun, folders: Sequence[str], wait: Callable[[float], object] = time.sleep
) -> None:
    """Look again every second, without end; Ctrl-C leaves the run's table whole.

    A file is taken once it has been let alone for 2 seconds, and again after it changed. DataError
    for what is no folder.
    """
    for name in folders:
        if not Path(name).is_dir():
            raise DataError(f"{name}: no such folder; --watch looks at folders")
    known: dict[Path, tuple[int, int]] = {}
    while True:
        if settled := _settled(files_named(folders), known):
            run.take(settled)
        wait(LOOK_EVERY_S)


def _settled(files: Sequence[Path], known: dict[Path, tuple[int, int]]) -> list[Path]:
    """Files of another size or date than `known`, which then has them."""
    found = []
    for file in files:
        try:
            seen = file.stat()
        except OSError:  # moved away meanwhile, or a link to nothing
            continue
        version = (seen.st_size, seen.st_mtime_ns)
        # By the time of the inode: what is moved or copied in may bring an old date along.
        if known.get(file) != version and time.time() - seen.st_ctime >= SETTLED_S:
            known[file] = version
            found.append(file)
    return found
