"""`ssl-loop gc`: free what DVC's cache holds and nothing names any more; keep all that a tag needs.

`dvc gc` looks at what it is told to, one flag per kind, and what it takes is gone. Here everything
counts that git can name - tags, branches, remote branches, stashes, HEAD - and the working copy,
and so do the workspaces that share this cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flows.workspace.dvc.dvc_cache import Cache, Out, cache_of, outs_at, outs_in_working_copy
from flows.workspace.dvc.dvc_config import effective
from flows.workspace.dvc.dvc_locks import REPOSITORY_LOCK
from flows.workspace.remote import NAME
from flows.workspace.workspace import Workspace, WorkspaceBusyError, is_workspace
from pipeline.errors import WorkspaceError
from pipeline.files import file_lock, write_text

USERS = "ssl-loop-users"  # in a cache: workspaces elsewhere that use it, one path a line
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Freed:
    """What a look at the cache found; with `dry_run` nothing was removed."""

    cache: str
    kept_objects: int
    kept_bytes: int
    freed_objects: int
    freed_bytes: int
    dry_run: bool

    def in_words(self) -> str:
        """For people, one line."""
        verb = "would free" if self.dry_run else "freed"
        return (
            f"{verb} {self.freed_bytes} bytes in {self.freed_objects} objects that no tag, branch "
            f"or working copy needs; {self.kept_bytes} bytes in {self.kept_objects} stay "
            f"({self.cache})"
        )


def collect_garbage(workspace: Workspace, *, dry_run: bool) -> Freed:
    """Remove from the cache what nothing needs.

    WorkspaceError while a tick or a `dvc` runs, for a cache that is not this workspace's own, and
    where it cannot be known what a tag needs.
    """
    with workspace.lock():
        cache = cache_of(workspace)
        _require_own(workspace, cache)
        roots = [workspace.root, *users(cache)]
        with _dvc_is_idle(workspace.root):
            needed = set().union(*(needed_objects(Workspace(root), cache) for root in roots))
            sizes = {path: path.stat().st_size for path in _objects(cache)}
            gone = [path for path in sizes if path.parent.name + path.name not in needed]
            for path in () if dry_run else gone:
                path.unlink()
    freed_bytes = sum(sizes[path] for path in gone)
    return Freed(
        cache=str(cache.folder),
        kept_objects=len(sizes) - len(gone),
        kept_bytes=sum(sizes.values()) - freed_bytes,
        freed_objects=len(gone),
        freed_bytes=freed_bytes,
        dry_run=dry_run,
    )


def needed_objects(workspace: Workspace, cache: Cache) -> set[str]:
    """Hashes of everything that a revision with a name, or the working copy, refers to.

    WorkspaceError where the list of a folder's files is not in the cache: what it needs would be
    taken for garbage.
    """
    needed: set[str] = set()
    for name, outs in _named_states(workspace):
        for out in outs:
            files = cache.files(out)
            if files is None and out.remade:
                continue
            if files is None:
                raise WorkspaceError(
                    f"{workspace.root}: {name} needs {out.path}, and the list of its files is not "
                    "in DVC's cache, so it cannot be said what may go: `dvc fetch` it from a "
                    f"remote, or give it up: `git tag -d {name}`"
                )
            needed |= {out.md5, *files.values()}
    return needed


def lost_by_tag(workspace: Workspace, tags: Iterable[str]) -> dict[str, list[str]]:
    """`tag -> files that are in neither cache nor remote`, of tags that cannot be restored.

    A remote is looked into where it is a folder; elsewhere it is not asked, and counts as nothing.
    """
    cache, remote = cache_of(workspace), _folder_remote(workspace)
    seen: dict[Out, list[str]] = {}
    found = {}
    for tag in tags:
        lost: list[str] = []
        for out in outs_at(workspace.git, tag):
            if not out.remade:
                if out not in seen:
                    seen[out] = _lost(out, cache, remote)
                lost += seen[out]
        if lost:
            found[tag] = lost
    return found


def has_far_remote(workspace: Workspace) -> bool:
    """Whether data are pushed to a place that cannot be looked into from here."""
    url = effective(workspace.root).url(NAME) or ""
    return "://" in url


def register(cache: Cache, root: Path) -> None:
    """Note in a cache that the workspace at `root` uses it, unless it is its own."""
    if not cache.folder.is_dir() or cache.folder.is_relative_to(root):
        return
    known = _noted(cache)
    if str(root) not in known:
        with suppress(PermissionError):  # whoever may not write there frees nothing there either
            write_text(cache.folder / USERS, "".join(f"{name}\n" for name in [*known, str(root)]))


def register_use(workspace: Workspace) -> None:
    """The same for a workspace as it is set up now."""
    if folder := effective(workspace.root).cache:
        register(Cache(workspace.root / ".dvc" / folder), workspace.root)


def users(cache: Cache) -> list[Path]:
    """Workspaces elsewhere that use a cache; those that no longer do are left out.

    WorkspaceError for one that is not there: it may have been moved, and would lose its data.
    """
    found = []
    for name in _noted(cache):
        root = Path(name)
        if not is_workspace(root):
            raise WorkspaceError(
                f"{root}: uses the cache {cache.folder} and is not there; if it is gone for good, "
                f"take its line out of {cache.folder / USERS}, if it was moved, write the new place"
            )
        if cache_of(Workspace(root)).folder == cache.folder:
            found.append(root)
    return found


def _noted(cache: Cache) -> list[str]:
    path = cache.folder / USERS
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _lost(out: Out, cache: Cache, remote: Cache | None) -> list[str]:
    places = [place for place in (cache, remote) if place]
    files = next((f for f in (place.files(out) for place in places) if f is not None), None)
    if files is None:
        return [out.path]
    return [
        path
        for path, md5 in files.items()
        if not any(place.object(md5).exists() for place in places)
    ]


def _folder_remote(workspace: Workspace) -> Cache | None:
    url = effective(workspace.root).url(NAME) or ""
    return Cache(Path(url)) if url and "://" not in url else None


def _named_states(workspace: Workspace) -> Iterator[tuple[str, list[Out]]]:
    git = workspace.git
    refs = git.run("for-each-ref", "--format=%(objectname) %(refname:short)").decode()
    named = dict(line.split(" ", 1) for line in refs.splitlines())
    if git.says("rev-parse", "--quiet", "--verify", "refs/stash"):
        stashes = git.run("log", "--walk-reflogs", "--format=%H", "refs/stash").decode().split()
        named |= dict.fromkeys(stashes, "a stash")
    named[git.head()] = "HEAD"
    for revision, name in named.items():
        if git.says("rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}"):
            yield name, outs_at(git, revision)
    yield "the working copy", outs_in_working_copy(workspace.root)


def _objects(cache: Cache) -> list[Path]:
    folder = cache.folder / "files/md5"
    return [path for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")) if path.is_file()]


def _require_own(workspace: Workspace, cache: Cache) -> None:
    own = workspace.root / ".dvc/cache"
    if cache.folder.resolve() == own.resolve():
        return
    owner = cache.folder.parent.parent
    if is_workspace(owner):
        raise WorkspaceError(
            f"{workspace.root}: uses the cache of {owner}; `ssl-loop gc` there looks after both"
        )
    raise WorkspaceError(
        f"{workspace.root}: its cache {cache.folder} is not its own, and others may use it; "
        "nothing was removed"
    )


@contextmanager
def _dvc_is_idle(root: Path) -> Iterator[None]:
    """Hold DVC's own lock of a repository; WorkspaceBusyError while a `dvc` has it."""
    with file_lock(root / REPOSITORY_LOCK) as ours:
        if not ours:
            raise WorkspaceBusyError(f"{root}: a `dvc` runs here; wait for it")
        yield
