"""What git and DVC say lies in a workspace at a revision, and whether DVC's cache has it.

Read from git and the cache alone, so that any state can be looked into without checking it out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict

from flows.workspace.dvc.dvc_files import DVC_LOCK, locked_stages, not_pushed, outs_of
from flows.workspace.git.commands import Git
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.reading import Document, read

LOCK = DVC_LOCK.as_posix()
LOST = "DVC's cache is damaged: remove the file and `dvc fetch`, or restore a backup"
_NOT_DATA = (".dvc", ".git", layout.PRIVATE.name)
_FOLDER = ".dir"  # how DVC marks the hash of a folder's listing


@dataclass(frozen=True, kw_only=True)
class Out:
    """A file or folder that DVC keeps: data, or what a stage made."""

    path: str  # relative to the workspace
    md5: str  # of the file, or of the folder's listing, which ends in ".dir"
    remade: bool  # never pushed: it can be made again from what is

    @property
    def is_folder(self) -> bool:
        """Whether `md5` is that of a listing."""
        return self.md5.endswith(_FOLDER)


class _Entry(TypedDict):
    """Of a folder's listing."""

    relpath: str
    md5: str


@dataclass(frozen=True)
class Cache:
    """DVC's store of objects on this machine."""

    folder: Path

    def object(self, md5: str) -> Path:
        """Where the content of this hash lies, if it does."""
        return self.folder / "files/md5" / md5[:2] / md5[2:]

    def files(self, out: Out) -> dict[str, str] | None:
        """`path -> MD5` of every file of an out; None where the listing of a folder is missing."""
        if not out.is_folder:
            return {out.path: out.md5}
        listing = self.object(out.md5)
        if not listing.exists():
            return None
        entries = read(listing, remedy=LOST).json(list[_Entry])
        return {f"{out.path}/{entry['relpath']}": entry["md5"] for entry in entries}

    def missing(self, outs: Iterable[Out]) -> list[str]:
        """Files, or folders of which not even the listing is there."""
        lacks = []
        for out in outs:
            files = self.files(out)
            if files is None:
                lacks.append(out.path)
                continue
            lacks += [path for path, md5 in files.items() if not self.object(md5).exists()]
        return lacks


def cache_of(workspace: Workspace) -> Cache:
    """The cache that a workspace uses, its own or a shared one."""
    return Cache(Path(workspace.dvc("cache", "dir").decode().strip()))


def outs_at(git: Git, revision: str) -> list[Out]:
    """All that DVC keeps at a revision, by path; what git keeps itself is not among it."""
    files = git.files_at(revision)
    return _outs(files, lambda path: git.file_at(revision, Path(path)))


def outs_in_working_copy(root: Path) -> list[Out]:
    """All that DVC keeps by what lies in a workspace now, committed or not."""
    files = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name not in _NOT_DATA]
        here = Path(folder).relative_to(root)
        files += [(here / name).as_posix() for name in names if name.endswith(".dvc")]
    files += [name for name in (LOCK, layout.DVC_YAML.as_posix()) if (root / name).exists()]
    return _outs(files, lambda path: read(root / path))


def _outs(files: Collection[str], look: Callable[[str], Document]) -> list[Out]:
    found: dict[str, Out] = {}
    for path in files:
        if path.endswith(".dvc") and not path.startswith(".dvc/"):
            for entry in outs_of(look(path)):
                name = (Path(path).parent / entry["path"]).as_posix()
                found[name] = Out(path=name, md5=entry["md5"], remade=False)
    stages = layout.DVC_YAML.as_posix()
    remade = not_pushed(look(stages)) if stages in files else set()
    locked = locked_stages(look(LOCK)) if LOCK in files else {}
    for stage in locked.values():
        for entry in stage.get("outs", ()):
            name = entry["path"]
            if name not in files:  # `cache: false`: small, and in git
                found[name] = Out(path=name, md5=entry["md5"], remade=name in remade)
    return [found[name] for name in sorted(found)]
