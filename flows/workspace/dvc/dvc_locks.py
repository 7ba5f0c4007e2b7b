"""DVC's list of who reads and writes what, freed of processes that a crash ended.

DVC frees it itself of processes that are gone, but takes zombies for living ones. A killed stage
stays a zombie until its new parent reaps it: a moment on most machines, forever in a container
whose first process reaps nobody.

DVC 3.67 locks its files by flock(2) (zc.lockfile), as `pipeline.files.file_lock` does; so either
side keeps the other out. With DVC's `core.hardlink_lock` it would not.
"""

from __future__ import annotations

from pathlib import Path

import psutil
from typing_extensions import TypedDict

from pipeline.errors import DataError
from pipeline.files import file_lock, write_json
from pipeline.reading import read

REPOSITORY_LOCK = Path(".dvc/tmp/lock")  # held by a `dvc` as long as it changes anything
RWLOCK = Path(".dvc/tmp/rwlock")
GUARD = Path(".dvc/tmp/rwlock.lock")  # held by a `dvc` for the moment in which it writes RWLOCK


class Holder(TypedDict):
    """Who reads or writes a path."""

    pid: int
    cmd: str


class Holders(TypedDict, total=False):
    """The content of RWLOCK."""

    read: dict[str, list[Holder]]
    write: dict[str, Holder]


def release_dead_holders(root: Path) -> None:
    """Drop entries of processes that ended, zombies too; those of living ones stay.

    A file that a killed `dvc` left half written says nothing: it is removed, or no `dvc` would run
    any more. To be called when no `dvc` of ours runs; while another writes nothing is touched.
    """
    if not (root / RWLOCK).exists():
        return
    with file_lock(root / GUARD) as ours:
        if not ours:
            return
        try:
            locks = read(root / RWLOCK).json(Holders)
        except DataError:
            (root / RWLOCK).unlink()
            return
        held, written = locks.get("read", {}), locks.get("write", {})
        readers = {path: [who for who in whos if _lives(who)] for path, whos in held.items()}
        left = Holders(
            read={path: whos for path, whos in readers.items() if whos},
            write={path: who for path, who in written.items() if _lives(who)},
        )
        if left != {"read": held, "write": written}:
            write_json(root / RWLOCK, left)


def _lives(holder: Holder) -> bool:
    try:
        return bool(psutil.Process(holder["pid"]).status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError):
        return False
