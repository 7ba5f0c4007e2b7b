"""Write a backup while the loop runs.

What refers is copied before what it refers to: the ledger first, then the inbox and what waits,
then git, then DVC's objects. Each of these only gains content, and a thing is always written before
what names it, so everything that an earlier copy names is in a later one. What came in between is
taken in by the restore, as after a kill.
"""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.copying import copy_ledger
from flows.backup.archive import Writer
from flows.backup.tool import Exported, export_tool
from flows.loop import Loop
from flows.services.stack import LABEL_STUDIO_DATA
from flows.workspace.credentials import SECRETS
from flows.workspace.dvc.dvc_cache import Cache, Out, cache_of, outs_at
from flows.workspace.dvc.dvc_config import LOCAL_CONFIG
from pipeline import layout
from pipeline.errors import WorkspaceError
from pipeline.files import replacing
from pipeline.runtime.progress import Progress

WAITING = (layout.INBOX, layout.INCOMING, layout.MORE, layout.WATCH)
EDITED = (layout.PARAMS, layout.DVC_YAML)
TOOL_DATABASE = "label_studio.sqlite3"


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What was written."""

    file: str
    files: int
    size: int
    head: str
    tags: int
    secrets: bool
    missing: dict[str, list[str]]
    """Tags that cannot be restored, here or from the backup, and what DVC's cache lacks of them."""
    tool: str = ""
    """Why the annotation tool's projects are not in it, where they are not."""


def backup(loop: Loop, file: Path, *, with_secrets: bool = False) -> Backup:
    """Write everything that this machine keeps of the workspace to `file`, whole or not at all.

    WorkspaceError where DVC's cache lacks something that HEAD needs.
    """
    with (
        replacing(file.absolute()) as beside,
        tempfile.TemporaryDirectory() as folder,
    ):
        beside.touch(mode=0o600)  # images and people's names are nobody else's
        with tarfile.open(beside, "w:gz", compresslevel=1) as tar:
            writer = Writer(tar)
            about = _write(loop, writer, Path(folder), with_secrets)
            writer.close(about)
    return Backup(
        file=str(file),
        files=len(writer.files),
        size=file.stat().st_size,
        head=about["head"],
        tags=len(about["tags"]),
        secrets=with_secrets,
        missing=about["missing"],
        tool=about["tool"],
    )


def _write(loop: Loop, writer: Writer, folder: Path, with_secrets: bool) -> dict[str, Any]:
    copy_ledger(loop.ledger, folder / "ledger.db")
    writer.add("ledger.db", folder / "ledger.db")
    copied = with_secrets and _secrets(loop.root, writer, folder)
    exported = Exported([], "") if copied else export_tool(loop, folder)
    for path in exported.files:
        writer.add(f"tool/{path.name}", path)
    for place in WAITING:
        _folder(writer, f"private/{place.name}", loop.root / place)
    for path in EDITED:
        if loop.workspace.git.run("diff", "--name-only", "HEAD", "--", path.as_posix()):
            writer.add(f"edited/{path.as_posix()}", loop.root / path)
    git, bundle = loop.workspace.git, folder / "git.bundle"
    git.run("bundle", "create", "--quiet", str(bundle), "--all", "HEAD")
    writer.add("git.bundle", bundle)
    listed = git.run("bundle", "list-heads", str(bundle)).decode().splitlines()
    heads = {name: commit for commit, _, name in (line.partition(" ") for line in listed)}
    tags = [name.removeprefix("refs/tags/") for name in heads if name.startswith("refs/tags/")]
    missing = _objects(loop, writer, heads["HEAD"], tags)
    return {
        "made_at": datetime.now(UTC).isoformat(),
        "workspace": loop.root.name,
        "head": heads["HEAD"],
        "branch": loop.read_params().loop.branch,
        "tags": tags,
        "missing": missing,
        "tool": exported.why_not,
    }


def _folder(writer: Writer, name: str, folder: Path) -> None:
    """All finished files; one that is gone by now was merged or taken in, so git has it."""
    for path in _finished(folder):
        try:
            writer.add(f"{name}/{path.relative_to(folder).as_posix()}", path)
        except FileNotFoundError:
            continue


def _finished(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and not path.is_symlink():
            yield path


def _objects(loop: Loop, writer: Writer, head: str, tags: Iterable[str]) -> dict[str, list[str]]:
    cache, git = cache_of(loop.workspace), loop.workspace.git
    outs = outs_at(git, head)
    if lost := cache.missing([out for out in outs if not out.remade]):
        raise WorkspaceError(
            f"{loop.root}: DVC's cache lacks {len(lost)} file(s) that HEAD needs: "
            f"{', '.join(lost[:5])}; `dvc fetch` brings them from a remote, `ssl-loop verify` says "
            "more"
        )
    needed = _objects_of(cache, [out for out in outs if not cache.missing([out])])
    missing = {}
    for tag in tags:
        kept = [out for out in outs_at(git, f"refs/tags/{tag}") if not out.remade]
        if lost := cache.missing(kept):
            missing[tag] = lost
        needed |= _objects_of(cache, kept)
    there = sorted(md5 for md5 in needed if cache.object(md5).exists())
    with Progress("backup", len(there)) as progress:
        for md5 in there:
            writer.add(f"cache/{md5[:2]}/{md5[2:]}", cache.object(md5))
            progress.advance()
    return missing


def _objects_of(cache: Cache, outs: Iterable[Out]) -> set[str]:
    """What DVC's cache holds of outs: files, and the listings of folders."""
    files = {md5 for out in outs for md5 in (cache.files(out) or {}).values()}
    return files | {out.md5 for out in outs}


def _secrets(root: Path, writer: Writer, folder: Path) -> bool:
    """Tokens, DVC's keys, and our own Label Studio, whose database holds a token and passwords.

    False where that database is no file here.
    """
    for name, path in (("secrets.json", root / SECRETS), ("config.local", root / LOCAL_CONFIG)):
        if path.exists():
            writer.add(f"secrets/{name}", path)
    data = root / LABEL_STUDIO_DATA
    if not (data / TOOL_DATABASE).exists():
        return False
    source = sqlite3.connect(f"{(data / TOOL_DATABASE).as_uri()}?mode=ro", uri=True)
    with closing(source), closing(sqlite3.connect(folder / TOOL_DATABASE)) as copy:
        source.backup(copy)
    writer.add(f"secrets/label-studio/{TOOL_DATABASE}", folder / TOOL_DATABASE)
    _folder(writer, "secrets/label-studio/media", data / "media")
    return True
