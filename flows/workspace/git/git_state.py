"""Whether git's own files can be read: index, HEAD, branch, objects; looked at first of all.

Each refusal names the file, what is wrong with it and what to type. Nothing is mended here: what a
disk or a killed program damaged is a person's to judge.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path

from flows.workspace.git.commands import Git
from pipeline.errors import WorkspaceError

_HEAD = re.compile(r"ref: (refs/\S+)|[0-9a-f]{40}([0-9a-f]{24})?")
_BACK = (
    "bring .git back from a backup (`ssl-loop restore-backup`) or a remote (`git clone`): "
    "docs/versions.md"
)


def require_readable(git: Git, branch: Callable[[], str] = lambda: "main") -> None:
    """WorkspaceError for the first thing in .git that is damaged or missing.

    `branch` is the workspace's, asked for where git does not know it any more.
    """
    if not git.folder.exists():
        raise WorkspaceError(f"{git.folder}: missing; {_BACK}")
    if git.folder.is_dir():  # a worktree's is a file that names another folder
        _require_parts(git, branch)
    if (said := _complaint(git, "config", "--list")) is not None:
        raise WorkspaceError(f"{git.folder / 'config'}: {said}; mend that line")
    if (said := _complaint(git, "rev-parse", "--git-dir")) is not None:
        raise WorkspaceError(f"{git.folder}: {said}; {_BACK}")
    if git.says("rev-parse", "--quiet", "--verify", "HEAD") is None:
        _require_unborn(git, branch)
        return
    if (said := _complaint(git, "ls-tree", "-r", "HEAD")) is not None:
        raise WorkspaceError(
            f"{git.folder / 'objects'}: what HEAD needs is damaged or missing ({said}); `git fsck` "
            f"says which; {_BACK}"
        )
    _require_index(git)


def _require_parts(git: Git, branch: Callable[[], str]) -> None:
    head = git.folder / "HEAD"
    text = _text(head)
    if not _HEAD.fullmatch(text.strip()):
        found = f"says {text[:60]!r}" if text.strip() else "empty or missing"
        ref = shlex.quote(f"ref: refs/heads/{branch()}")
        raise WorkspaceError(
            f"{head}: {found}, expected the branch checked out; `echo {ref} > {head}`"
        )
    if not (git.folder / "objects").is_dir():
        raise WorkspaceError(f"{git.folder / 'objects'}: missing; {_BACK}")
    if not (git.folder / "refs").is_dir():
        refs = git.folder / "refs"
        raise WorkspaceError(
            f"{refs}: missing, and with it what branches and tags name; `mkdir {refs}`, then "
            f"`git fetch` them from a remote, or {_BACK}"
        )


def _require_unborn(git: Git, branch: Callable[[], str]) -> None:
    """WorkspaceError where there was a commit: a branch is damaged, not yet to be made."""
    last = _last_commit(git)
    if last is None:
        return
    head = _HEAD.fullmatch(_text(git.folder / "HEAD").strip())
    ref = (head and head.group(1)) or f"refs/heads/{branch()}"
    file = git.folder / ref
    raise WorkspaceError(
        f"{file}: damaged or missing, so that HEAD names no commit; the last one by "
        f"{git.folder / 'logs/HEAD'}: `rm -f {file} && git update-ref {ref} {last}`"
    )


def _last_commit(git: Git) -> str | None:
    """The newest that git's own log of HEAD names and that is still there."""
    for line in reversed(_text(git.folder / "logs/HEAD").splitlines()):
        commit = line.split(" ")[1] if line.count(" ") > 1 else ""
        if commit.strip("0") and git.says("cat-file", "-e", f"{commit}^{{commit}}") is not None:
            return commit
    return None


def _require_index(git: Git) -> None:
    index = git.folder / "index"
    remedy = "every file is in HEAD and on the disk: `git reset --quiet` makes it again"
    if (said := _complaint(git, "ls-files")) is not None:
        raise WorkspaceError(f"{index}: {said}; {remedy}, after `rm {index}`")
    if git.folder.is_dir() and not index.exists():
        raise WorkspaceError(f"{index}: missing; {remedy}")
    if git.folder.is_dir() and not _has_own_hash(index.read_bytes(), git.head()):
        raise WorkspaceError(f"{index}: damaged, not what git wrote; {remedy}, after `rm {index}`")


def _has_own_hash(content: bytes, head: str) -> bool:
    """An index ends with the hash of the rest (or zeros), which git itself rarely compares."""
    size = len(head) // 2
    digest = (sha1 if size == 20 else sha256)(content[:-size], usedforsecurity=False).digest()
    return content[-size:] in (digest, bytes(size))


def _complaint(git: Git, *arguments: str) -> str | None:
    """What git says when it fails, in one line; None when it does not."""
    try:
        git.run(*arguments)
    except WorkspaceError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        said = next((line for line in lines if line.startswith("fatal: ")), (lines or ["?"])[0])
        return said.removeprefix("fatal: ").removeprefix("error: ")
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
