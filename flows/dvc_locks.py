"""DVC's list of who reads and writes what, freed of processes that a crash ended.

DVC frees it itself of processes that are gone, but takes zombies for living ones. A killed stage
stays a zombie until its new parent reaps it: a moment on most machines, forever in a container
whose first process reaps nobody.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from pipeline.files import write_json

RWLOCK = Path(".dvc/tmp/rwlock")  # {"read": {path: [holder]}, "write": {path: holder}}


def release_dead_holders(root: Path) -> None:
    """Drop entries of processes that ended, zombies too; those of living ones stay.

    To be called when no `dvc` of ours runs.
    """
    try:
        locks: dict[str, dict[str, Any]] = json.loads((root / RWLOCK).read_text())
    except (FileNotFoundError, ValueError):
        return  # nothing is held, or DVC will say what is wrong with its file
    readers = {
        path: [holder for holder in holders if _lives(holder["pid"])]
        for path, holders in locks.get("read", {}).items()
    }
    writers = {
        path: holder for path, holder in locks.get("write", {}).items() if _lives(holder["pid"])
    }
    left = {"read": {path: who for path, who in readers.items() if who}, "write": writers}
    if left != {"read": locks.get("read", {}), "write": locks.get("write", {})}:
        write_json(root / RWLOCK, left)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
