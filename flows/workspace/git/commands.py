"""Git as the loop uses it: listed paths only, one branch, never a rewritten history."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil

from flows.processes.command import run
from pipeline.errors import WorkspaceError
from pipeline.reading import Document, content_of

# The last line of every commit of the loop's own, by which commit_owners.py beside this file tells
# them from people's.
OWN_MARK = "Committed-by: ssl-loop"
_COMMIT = ("commit", "--quiet", "--no-verify", "--cleanup=verbatim", "--allow-empty")
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
        return list(self.tagged_commits())

    def tagged_commits(self) -> dict[str, str]:
        """`tag -> commit that it names` of those reachable from HEAD, oldest first."""
        # The commit behind an annotated tag comes first in its line, else the object is the commit.
        form = "--format=%(*objectname) %(objectname) %(refname:strip=2)"
        lines = (
            self.run("tag", "--merged", "HEAD", "--sort=creatordate", form).decode().splitlines()
        )
        return {words[-1]: words[0] for words in map(str.split, lines)}

    def show(self, revision: str, path: Path) -> bytes:
        """A file as it was; WorkspaceError when that revision has none."""
        return self.run("show", f"{revision}:{path.as_posix()}")

    def file_at(self, revision: str, path: Path) -> Document:
        """A file as it was, to be read as what it should be."""
        remedy = f"somebody committed it so: `git log {revision} -- {path}` says who"
        return content_of(self.show(revision, path), f"{path} at {revision}", remedy=remedy)

    def restore(self, revision: str, paths: Iterable[Path]) -> None:
        """Bring the working copies of `paths` back to `revision`; the index is left alone."""
        names = [path.as_posix() for path in paths]
        self.run("restore", f"--source={revision}", "--worktree", "--", *names)

    def commit(self, paths: Sequence[Path], message: str, *, empty: bool = False) -> str | None:
        """Record the state of `paths`, deletions included; None when nothing of them changed.

        Whatever else is staged stays staged and uncommitted. A path that is neither there nor
        tracked has no state to record. After a failure none of `paths` is left staged.
        WorkspaceError when git recorded something else than what lies there. With `empty`, the
        message alone is worth a commit.
        """
        names = [path.as_posix() for path in paths if self._has_state(path)]
        if not names and not empty:
            return None
        with self._writing():
            try:
                self._stage(names)
                changed = names and self.run(
                    "diff", "--cached", "--name-only", "HEAD", "--", *names
                )
                if changed or empty:
                    said = ("-m", message, "-m", OWN_MARK)
                    self.run(*_COMMIT, *said, "--only", "--", *names)
            except BaseException:
                if names:
                    self.says("reset", "--quiet", "--", *names)
                raise
        require_recorded(self, names)
        return self.head() if changed or empty else None

    def _stage(self, names: Sequence[str]) -> None:
        """Add with force: what people's settings hide is to be recorded all the same.

        Below a folder, hidden and backup files are left out, as they are nobody's result.
        """
        if not names:
            return
        self._look_at_them_again(names)
        private = [name for name in names if Path(name).parts[0] == self.marker.parent.name]
        if private:
            raise WorkspaceError(f"{', '.join(private)}: ignored, and never committed")
        if tracked := self.listed("ls-files", "-z", "--", *names):
            self.run("add", "--update", "--", *tracked)
        unknown = self.listed("ls-files", "--others", "-z", "--", *names)
        new = [name for name in unknown if name in names or not is_litter(name)]
        if new:
            self.run("add", "--force", "--", *new)

    def _look_at_them_again(self, names: Sequence[str]) -> None:
        """Take back `assume-unchanged` and `skip-worktree`, by which git would look away."""
        flagged = [
            line[2:]
            for line in self.listed("ls-files", "-v", "-z", "--", *names)
            if line[0].islower() or line[0] == "S"
        ]
        there = [name for name in flagged if (self.root / name).exists()]
        for bit in ("--no-assume-unchanged", "--no-skip-worktree"):
            if there:
                self.run("update-index", bit, "--", *there)

    def listed(self, *arguments: str) -> list[str]:
        """What `git ARGUMENTS` lists with `-z`."""
        return [name for name in os.fsdecode(self.run(*arguments)).split("\0") if name]

    def _has_state(self, path: Path) -> bool:
        return (self.root / path).exists() or bool(self.run("ls-files", "--", path.as_posix()))

    def tag(self, name: str, message: str, at: str = "HEAD") -> None:
        """Name a commit; again is fine, WorkspaceError when `name` is another commit already."""
        there = self.says("rev-parse", "--verify", f"refs/tags/{name}^{{commit}}")
        commit = self.run("rev-parse", "--verify", f"{at}^{{commit}}").decode().strip()
        if there is not None and there != commit:
            raise WorkspaceError(
                f"tag {name} already names {there[:12]}, not {at} {commit[:12]}; a round is never "
                f"done twice. Look at it with `git show {name}`; if it is not the loop's, "
                f"`git tag -d {name}`"
            )
        if there is None:
            with self._writing():
                self.run("tag", "-a", name, "-m", message, commit)

    def files_at(self, revision: str, *names: str) -> dict[str, tuple[str, str]]:
        """`path -> (mode, hash of the blob)` of every file of a revision, or of `names` in it."""
        found = {}
        for line in self.listed("ls-tree", "-r", "-z", "--full-tree", revision, "--", *names):
            head, _, path = line.partition("\t")
            mode, _, blob = head.split()
            found[path] = (mode, blob)
        return found

    def ensure_identity(self) -> None:
        """Who commits, where nobody has said so: a fresh clone on a fresh machine has no name."""
        unsaid = self.says("config", "user.email") is None
        if unsaid or None in (
            self.says("var", "GIT_AUTHOR_IDENT"),
            self.says("var", "GIT_COMMITTER_IDENT"),
        ):
            self.run("config", "user.name", "ssl-loop")
            self.run("config", "user.email", "ssl-loop@localhost")

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
        if self.says("rev-parse", "--quiet", "--verify", "HEAD") is None:
            raise WorkspaceError(
                f"{self.root}: git has no commit here; `ssl-loop init` was not finished: run it "
                "again with the same arguments"
            )
        if current != branch:
            self._require_exists(branch)
            where = f"branch {current!r}" if current else "a detached HEAD"
            raise WorkspaceError(
                f"{self.root}: on {where}, and rounds are committed to {branch!r} only; when done "
                f"looking: `git checkout {branch} && dvc checkout`"
            )
        self._require_no_lock()

    def _require_exists(self, branch: str) -> None:
        if self.says("rev-parse", "--quiet", "--verify", f"refs/heads/{branch}") is None:
            known = self.run("branch", "--format=%(refname:short)").decode().split("\n")
            raise WorkspaceError(
                f"params.yaml: loop.branch = {branch!r}, and git has no such branch; expected one "
                f"of: {', '.join(filter(None, known))}. Set it back, or make the branch: "
                f"`git branch -m {branch}`"
            )

    def _require_no_lock(self) -> None:
        deadline = time.monotonic() + _BUSY_WAIT_S
        while lock := next(iter(self._locks()), None):
            if time.monotonic() > deadline:
                raise WorkspaceError(
                    f"{lock}: another git is at work here, or was killed; if none runs: rm {lock}"
                )
            time.sleep(0.1)

    def _locks(self) -> list[Path]:
        """Files by which a git keeps others out, or kept them out when it was killed."""
        # Not **/*.lock from the top: objects/ is large and its locks are git gc's.
        return [*self.folder.glob("*.lock"), *self.folder.glob("refs/**/*.lock")]

    def remove_own_locks(self) -> list[Path]:
        """Locks that a killed write of ours left, removed; those of others are never touched."""
        if not self.marker.exists():
            return []
        if any(_works_in(process, self.root) for process in psutil.process_iter(["name"])):
            return []  # a git is still running: its own, or ours about to end
        since = self.marker.stat().st_mtime_ns
        stale = [path for path in self._locks() if path.stat().st_mtime_ns >= since]
        for path in stale:
            path.unlink(missing_ok=True)
        self.marker.unlink()
        return stale

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self.ensure_identity()
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


def require_recorded(git: Git, names: Sequence[str]) -> None:
    """WorkspaceError unless HEAD has `names`, folders whole, byte for byte as they lie there."""
    if not names:
        return
    at_head = git.files_at("HEAD", *names)
    lies = [name for name in names if (git.root / name).is_file()]
    for folder in (git.root / name for name in names if (git.root / name).is_dir()):
        found = (path for path in folder.rglob("*") if path.is_file())
        lies += [p for p in (f.relative_to(git.root).as_posix() for f in found) if not is_litter(p)]
    bad = [name for name in lies if not _is_blob(git.root / name, at_head.get(name, ("", ""))[1])]
    bad += [name for name in at_head if not (git.root / name).exists()]
    if bad:
        attributes = git.says("check-attr", "--all", "--", bad[0])
        raise WorkspaceError(
            f"git did not record as it lies there: {', '.join(bad[:10])}"
            + (f" (it applies {attributes.partition(': ')[2]!r})" if attributes else "")
            + "; look for filters and line endings in .git/info/attributes and `git config "
            "--list --show-origin`, and for `git sparse-checkout list`"
        )


def blob_hash(content: bytes, like: str) -> str:
    """git's name of a content, in the object format of the hash `like`."""
    kind = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return kind(b"blob %d\0" % len(content) + content).hexdigest()


def _is_blob(path: Path, blob: str) -> bool:
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    return blob_hash(content, blob) == blob


def is_litter(name: str) -> bool:
    """What editors and file managers leave behind, and files that are being written."""
    last = Path(name).name
    return (last.startswith(".") and last != ".gitignore") or last.endswith(("~", ".swp", ".tmp"))
