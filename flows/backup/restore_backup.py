"""Make a workspace of a backup: the same one, as it was, proved by hash before it is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import repository
from db.copying import fill_ledger, require_empty
from db.session import open_ledger, session_scope
from flows.backup.archive import unpack
from flows.backup.tool import EXPORT
from flows.backup.write_backup import WAITING
from flows.ledger.round_events import WHO
from flows.loop import Loop
from flows.services.stack import LABEL_STUDIO_DATA, LEDGER_VARIABLE
from flows.versions.rebuild_ledger import rebuild
from flows.versions.restore import made_beside, require_free
from flows.workspace.credentials import SECRETS
from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.dvc.dvc_config import LOCAL_CONFIG
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError
from pipeline.files import sha256_file

_OBJECTS = Path(".dvc/cache/files/md5")


@dataclass(frozen=True, kw_only=True)
class RestoredBackup:
    """What came back."""

    root: str
    made_at: str
    head: str
    tags: int
    annotations: int
    secrets: bool
    tool: list[str]
    """Files with what the annotation tool had, project by project."""


def restore_backup(file: Path, into: Path, log: Callable[[str], object]) -> RestoredBackup:
    """The workspace of a backup in the new folder `into`, with its history, ledger and inbox.

    DataError for a file that is no backup, or not as it was written; WorkspaceError for a folder
    that is not free, LedgerError for a database of $SSL_LOOP_LEDGER_URL that is not empty. Nothing
    is left behind then.
    """
    into = into.absolute()
    require_free(into)
    target = os.environ.get(LEDGER_VARIABLE)
    if target:
        with closing(open_ledger(target)) as ledger:
            require_empty(ledger)
    if not file.is_file():
        raise DataError(f"{file}: no such file; name what `ssl-loop backup` wrote")
    with (
        made_beside(into) as root,
        tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as folder,
    ):
        parts = Path(folder)
        log(f"reading {file} and comparing every hash")
        manifest = unpack(file, parts)
        log("putting history, data and facts in their places")
        workspace = _history(parts, root, manifest)
        _data(parts, root, workspace)
        _private(parts, root)
        annotations = _facts(workspace, file)
        if target:
            log(f"putting the ledger where ${LEDGER_VARIABLE} says")
            _elsewhere(root / layout.LEDGER, target)
    return RestoredBackup(
        root=str(into),
        made_at=manifest["made_at"],
        head=manifest["head"],
        tags=len(manifest["tags"]),
        annotations=annotations,
        secrets=(into / SECRETS).exists(),
        tool=sorted(str(path.relative_to(into)) for path in (into / EXPORT).glob("*.json")),
    )


def _history(parts: Path, root: Path, manifest: dict[str, Any]) -> Workspace:
    root.mkdir()
    workspace = Workspace(root)
    git = workspace.git
    git.run("init", "--quiet", f"--initial-branch={manifest['branch']}")
    git.run("fetch", "--quiet", "--update-head-ok", str(parts / "git.bundle"), "+refs/*:refs/*")
    git.run("reset", "--quiet", "--hard", manifest["head"])
    git.ensure_identity()
    return workspace


def _data(parts: Path, root: Path, workspace: Workspace) -> None:
    """The cache is the workspace's own, wherever the old one had it."""
    if (parts / "cache").is_dir():
        (root / _OBJECTS).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(parts / "cache", root / _OBJECTS)
    if (parts / "secrets/config.local").exists():
        shutil.move(parts / "secrets/config.local", root / LOCAL_CONFIG)
    workspace.dvc("config", "--local", "cache.dir", _OBJECTS.parents[1].as_posix())
    workspace.dvc("checkout", "--quiet", "--allow-missing")  # predictions may be made again
    kept = [out for out in outs_at(workspace.git, "HEAD") if not out.remade]
    if lost := cache_of(workspace).missing(kept):
        raise DataError(
            f"the backup lacks {len(lost)} file(s) that its own history needs: "
            f"{', '.join(lost[:5])}; take another one"
        )


def _private(parts: Path, root: Path) -> None:
    (root / layout.PRIVATE).mkdir(mode=0o700, exist_ok=True)
    shutil.move(parts / "ledger.db", root / layout.LEDGER)
    moves = {parts / "private" / place.name: root / place for place in WAITING}
    moves[parts / "secrets/secrets.json"] = root / SECRETS
    moves[parts / "tool"] = root / EXPORT
    moves[parts / "secrets/label-studio"] = root / LABEL_STUDIO_DATA
    for source, target in moves.items():
        if source.exists():
            shutil.move(source, target)
    for path in (layout.PARAMS, layout.DVC_YAML):
        if (parts / "edited" / path).exists():
            shutil.copyfile(parts / "edited" / path, root / path)


def _elsewhere(ledger: Path, target: str) -> None:
    with closing(open_ledger(target)) as other:
        fill_ledger(other, ledger)
    for path in ledger.parent.glob(f"{ledger.name}*"):  # and what SQLite keeps beside it
        path.unlink()


def _facts(workspace: Workspace, file: Path) -> int:
    """What git and the inbox gained while the backup was written is put into the ledger."""
    with closing(open_ledger(workspace.root / layout.LEDGER)) as ledger:
        annotations = rebuild(Loop(workspace=workspace, ledger=ledger, log=lambda line: None))
        with session_scope(ledger) as session:
            digest = sha256_file(file)
            repository.record_event(
                session,
                kind="backup_restored",
                who=WHO,
                subject=file.name,
                key=f"backup_restored/{digest}",
                detail={"sha256": digest},
            )
    return annotations
