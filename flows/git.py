"""Git as the loop uses it: listed paths only, one branch, never a rewritten history."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil

from flows.processes import run
from pipeline.errors import WorkspaceError

# Nobody sits at a tick: no signing pass phrase, no hook that waits or reformats.
_UNATTENDED = ("-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false")
# Files in .git that mean somebody is in the middle of something, and what ends it.
_UNFINISHED = {
    "MERGE_HEAD": "git merge --abort",
    "CHERRY_PICK_HEAD": "git cherry-pick --abort",
    "REVERT_HEAD": "git revert --abort",
    "rebase-merge": "git rebase --abort",
    "rebase-apply": "git rebase --abort",
    "BISECT_LOG": "git bisect reset",
}
_BUSY_WAIT_S = 2.0  # a person's `git status` holds index.lock for milliseconds


class Git:
    """The repository whose top is `root`; `marker` says that a write of ours is under way."""

    def __init__(self, root: Path, marker: Path) -> None:
        self.root = root
        self.folder = root / ".git"
        self.marker = marker

    def run(self, *arguments: str, remedy: str = "") -> bytes:
        """Standard output of `git ARGUMENTS`; WorkspaceError when it fails."""
        return run(["git", *arguments], cwd=self.root, remedy=remedy)

    def says(self, *arguments: str) -> str | None:
        """First line that `git ARGUMENTS` prints, None when it fails: for yes-or-no questions."""
        try:
            return self.run(*arguments).decode().partition("\n")[0]
        except WorkspaceError:
            return None

    def head(self) -> str:
        """The commit checked out, 40 hex digits."""
        return self.run("rev-parse", "--verify", "HEAD").decode().strip()

    def tags_merged(self) -> list[str]:
        """Tags reachable from HEAD, oldest first."""
        return self.run("tag", "--merged", "HEAD", "--sort=creatordate").decode().split()

    def show(self, revision: str, path: Path) -> bytes:
        """A file as it was; WorkspaceError when that revision has none."""
        return self.run("show", f"{revision}:{path.as_posix()}")

    def restore(self, revision: str, paths: Iterable[Path]) -> None:
        """Bring the working copies of `paths` back to `revision`; the index is left alone."""
        names = [path.as_posix() for path in paths]
        self.run("restore", f"--source={revision}", "--worktree", "--", *names)

    def commit(self, paths: Sequence[Path], message: str) -> str | None:
        """Record the state of `paths`, deletions included; None when nothing of them changed.

        Whatever else is staged stays staged and uncommitted. A path that is neither there nor
        tracked has no state to record. After a failure none of `paths` is left staged.
        """
        names = [path.as_posix() for path in paths if self._has_state(path)]
        if not names:
            return None
        with self._writing():
            try:
                self.run("add", "--all", "--", *names)
                if not self.run("diff", "--cached", "--name-only", "HEAD", "--", *names):
                    return None
                self.run(*_UNATTENDED, "commit", "--quiet", "--no-verify", "-m", message,
                         "--only", "--", *names)  # fmt: skip
            except BaseException:
                self.says("reset", "--quiet", "--", *names)
                raise
        return self.head()

    def _has_state(self, path: Path) -> bool:
        return (self.root / path).exists() or bool(self.run("ls-files", "--", path.as_posix()))

    def tag(self, name: str, message: str, at: str = "HEAD") -> None:
        """Name HEAD, or `at`; again is fine, WorkspaceError when it is another commit already."""
        there = self.says("rev-parse", "--verify", f"refs/tags/{name}^{{commit}}")
        head = self.run("rev-parse", "--verify", f"{at}^{{commit}}").decode().strip()
        if there is not None and there != head:
            raise WorkspaceError(
                f"tag {name} already names {there[:12]}, not {at} {head[:12]}; a round is never "
                f"done twice. Look at it with `git show {name}`; if it is not the loop's, "
                f"`git tag -d {name}`"
            )
        if there is None:
            with self._writing():
                self.run(*_UNATTENDED, "tag", "-a", name, "-m", message, head)

    def require_branch(self, branch: str) -> None:
        """WorkspaceError naming the remedy unless on `branch` with nothing unfinished."""
        top = self.says("rev-parse", "--show-toplevel")
        if top is None or Path(top).resolve() != self.root:
            raise WorkspaceError(
                f"{self.root}: not the top of a git repository; `ssl-loop init DIR` makes one"
            )
        for name, remedy in _UNFINISHED.items():
            if (self.folder / name).exists():
                raise WorkspaceError(f"{self.root}: .git/{name} is there; finish it or `{remedy}`")
        current = self.says("symbolic-ref", "--quiet", "--short", "HEAD")
        if current != branch:
            where = f"branch {current!r}" if current else "a detached HEAD"
            raise WorkspaceError(
                f"{self.root}: on {where}, and rounds are committed to {branch!r} only; when done "
                f"looking: `git checkout {branch} && dvc checkout`"
            )
        self._require_no_lock()

    def _require_no_lock(self) -> None:
        lock = self.folder / "index.lock"
        deadline = time.monotonic() + _BUSY_WAIT_S
        while lock.exists():
            if time.monotonic() > deadline:
                raise WorkspaceError(
                    f"{lock}: another git is at work here, or was killed; if none runs: rm {lock}"
                )
            time.sleep(0.1)

    def remove_own_locks(self) -> list[Path]:
        """Locks that a killed write of ours left, removed; those of others are never touched."""
        if not self.marker.exists():
            return []
        if any(_works_in(process, self.root) for process in psutil.process_iter(["name"])):
            return []  # a git is still running: its own, or ours about to end
        since = self.marker.stat().st_mtime_ns
        # Not **/*.lock from the top: objects/ is large and its locks are git gc's.
        found = [*self.folder.glob("*.lock"), *self.folder.glob("refs/**/*.lock")]
        stale = [path for path in found if path.stat().st_mtime_ns >= since]
        for path in stale:
            path.unlink(missing_ok=True)
        self.marker.unlink()
        return stale

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self.marker.parent.mkdir(exist_ok=True)
        self.marker.touch()
        try:
            yield
        finally:
            self.remove_own_locks()  # left when git alone was killed
            self.marker.unlink(missing_ok=True)


def _works_in(process: psutil.Process, root: Path) -> bool:
    try:
        return process.info["name"] == "git" and root in [
            here := Path(process.cwd()),
            *here.parents,
        ]
    except (psutil.Error, OSError):
        return False
