"""`ssl-loop restore`: a tagged state in a new workspace, proved by hash.

Going back is a new workspace, since one is never rewound in place. It has a ledger of its own,
made from what the tag holds, and no annotation project; later tags stay behind, so that its own
rounds may have their names.
"""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db import repository
from db.session import open_ledger, session_scope
from flows.loop import Loop
from flows.processes.command import alive, run
from flows.versions.collect_garbage import register
from flows.versions.rebuild_ledger import rebuild
from flows.versions.restored_hashes import Proof, prove
from flows.workspace.dvc.dvc_cache import Cache, Out, cache_of, outs_at
from flows.workspace.dvc.dvc_config import CONFIG, effective, lend_storage, parse
from flows.workspace.identity import new_identity
from flows.workspace.position import final_tags, require_tag
from flows.workspace.remote import LOOK_LIMIT_S, NAME, SOURCE, redacted
from flows.workspace.workspace import Workspace, is_workspace, tracked_by
from pipeline import layout
from pipeline.errors import WorkspaceError

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came back."""

    root: Path
    proof: Proof
    annotations: int  # in the new ledger


def restore(source: str, tag: str, into: Path, log: Callable[[str], object]) -> Restored:
    """Bring `tag` of the workspace or git repository at `source` back in the new folder `into`.

    WorkspaceError for an unknown tag, a folder that is not free, data that are in neither cache
    nor remote, and anything that differs from what was tagged; `into` is untouched then.
    """
    into = into.absolute()
    source = str(Path(source).resolve()) if Path(source).exists() else source
    require_free(into)
    require_tag(tag, _tags(source, into.parent))
    with made_beside(into) as root:
        log(f"cloning {redacted(source)} at {tag}")
        workspace = _clone(source, tag, root)
        outs = outs_at(workspace.git, "HEAD")
        cache = _bring(workspace, tag, outs, log)
        log("comparing every file with what was tagged")
        proof = prove(root, tag, outs, cache)
        _own_identity(workspace, tag)
        annotations = _ledger(workspace, tag, source)
        register(cache, into)
    return Restored(root=into, proof=proof, annotations=annotations)


def require_free(into: Path) -> None:
    """WorkspaceError unless `into` is a new or empty folder outside other repositories."""
    if into.exists() and not into.is_dir():
        raise WorkspaceError(f"{into}: is a file; name a new folder")
    if into.exists() and any(into.iterdir()):
        raise WorkspaceError(f"{into}: not empty; name a new folder, nothing is overwritten")
    if into.resolve() == Path.cwd():
        raise WorkspaceError(f"{into}: is the folder you are in; go up and name it")
    into.parent.mkdir(parents=True, exist_ok=True)
    if tracker := tracked_by(into):
        raise WorkspaceError(
            f"{into}: lies in the repository {tracker}, which would track it; choose a folder "
            "elsewhere or one that it ignores"
        )


def _tags(source: str, cwd: Path) -> list[str]:
    listed = run(["git", "ls-remote", "--tags", source], cwd=cwd, limit_s=LOOK_LIMIT_S).decode()
    names = [line.partition("refs/tags/")[2] for line in listed.splitlines()]
    return [name for name in names if name and not name.endswith("^{}")]


@contextmanager
def made_beside(into: Path) -> Iterator[Path]:
    """A folder that becomes `into` at the end, and is gone after anything else."""
    for left in into.parent.glob(f".{into.name}.*.restoring"):
        pid = left.name.rsplit(".", 2)[1]
        if not (pid.isdecimal() and alive(int(pid))):  # a killed restore's
            shutil.rmtree(left, ignore_errors=True)
    beside = into.with_name(f".{into.name}.{os.getpid()}.restoring")
    try:
        yield beside
        beside.rename(into)  # over an empty folder, if there is one
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _clone(source: str, tag: str, root: Path) -> Workspace:
    """git's half, on the workspace's branch at the tag, with the tags up to it and no later."""
    clone = ["git", "clone", "--quiet", "--no-checkout", "--origin", SOURCE]
    run([*clone, source, str(root)], cwd=root.parent)
    workspace = Workspace(root)
    git = workspace.git
    git.run("config", f"remote.{SOURCE}.tagOpt", "--no-tags")  # no later fetch brings them
    commit = workspace.revision(f"refs/tags/{tag}")
    git.run("checkout", "--quiet", "--detach", commit)
    if not is_workspace(root):
        raise WorkspaceError(f"{redacted(source)}: {tag} is not a state of a workspace")
    params = workspace.params()
    git.run("checkout", "--quiet", "--no-track", "-B", params.loop.branch, commit)
    git.says("config", "--remove-section", f"branch.{params.loop.branch}")  # its pushes go nowhere
    later = set(git.run("tag").decode().split()) - set(git.tags_merged())
    if params.domain is not None:
        later.update(final_tags(params.domain, git.tags_merged()))  # its campaign is open again
    for name in later & set(git.run("tag").decode().split()):
        git.run("tag", "--delete", name)
    git.ensure_identity()
    _lend(source, workspace)
    return workspace


def _own_identity(workspace: Workspace, tag: str) -> None:
    """An id of its own, so that its questions and answers are not its origin's."""
    new_identity(workspace.root, restored_from=tag)
    workspace.commit([layout.WORKSPACE], f"A workspace of its own, from {tag}")


def _lend(source: str, workspace: Workspace) -> None:
    """Remotes as the source knows them today: the tag may be older than they are."""
    if is_workspace(Path(source)):
        origin = Workspace(Path(source))
        lend_storage(effective(origin.root), workspace.root, cache=cache_of(origin).folder)
    else:
        newest = f"refs/remotes/{SOURCE}/{workspace.params().loop.branch}"
        known = workspace.exists_at(newest, CONFIG)
        config = parse(workspace.file_at(newest if known else "HEAD", CONFIG))
        lend_storage(config, workspace.root, cache=None)


def _bring(workspace: Workspace, tag: str, outs: list[Out], log: Callable[[str], object]) -> Cache:
    """DVC's half: from the cache, else from the remote; WorkspaceError names what is in neither."""
    cache = cache_of(workspace)
    why = "no remote is set up"
    if missing := cache.missing(outs):
        config = effective(workspace.root)
        named = ["--remote", NAME] if NAME in config.remotes else []
        if named or config.default_remote is not None:
            log(f"fetching {len(missing)} files or folders that the cache lacks")
            why = "the remote lacks them"
            try:
                workspace.dvc("fetch", *named)
            except WorkspaceError as error:  # also for what is never pushed; judged below
                why = redacted(str(error))
    kept = [out for out in outs if not out.remade]
    if lost := cache.missing(kept):
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise WorkspaceError(
            f"{tag}: {len(lost)} file(s) or folder(s) are in neither cache nor remote: "
            f"{', '.join(lost[:_SHOWN])}{more} ({why})"
        )
    workspace.dvc("checkout", "--allow-missing")
    return cache


def _ledger(workspace: Workspace, tag: str, source: str) -> int:
    """The facts as they were, in SQLite whatever ledger the environment names for others."""
    with closing(open_ledger(workspace.root / layout.LEDGER)) as ledger:
        annotations = rebuild(Loop(workspace=workspace, ledger=ledger))
        with session_scope(ledger) as session:
            repository.record_event(
                session,
                kind="restored",
                who=getpass.getuser(),
                subject=tag,
                detail={"from": redacted(source)},
            )
    return annotations
