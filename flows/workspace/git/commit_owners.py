"""Whose a commit is: the loop's own, or a person's that touches what the loop keeps.

The loop marks its commits by a line in their message; a commit that was amended, picked or rebased
has the line and no longer one date. Commits of versions without the mark are known by what they
say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.workspace.git.commands import OWN_MARK
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import WorkspaceError

ACCEPTS = "Accepts: "  # a line of the loop's own commit that takes a person's
_REVERTS = re.compile(r"This reverts commit ([0-9a-f]{40,64})")
_OLD_MESSAGES = re.compile(
    r"Begin$|A new workspace of ssl-loop$|Take in domain |Round \d+ of |Merge round \d+ of "
    r"|Let in \d+ images of |Data are pushed "
)
_LOG = ("log", "--topo-order", "--full-history", "-c", "--name-only", "-z", "--no-renames")
_FORMAT = "--format=%x1e%H%x1f%P%x1f%an%x1f%ae%x1f%at%x1f%ct%x1f%B%x1d"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit with the files of the loop that it changed."""

    revision: str
    parents: tuple[str, ...]
    author: str
    email: str
    written: int  # Unix times
    committed: int
    message: str
    files: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]

    @property
    def at(self) -> datetime:
        """When it came into this history."""
        return datetime.fromtimestamp(self.committed, UTC)

    @property
    def ours(self) -> bool:
        """Whether the loop made it, as it stands."""
        marked = OWN_MARK in self.message.splitlines()
        return marked and abs(self.committed - self.written) <= 1 and len(self.parents) < 2

    @property
    def accepted(self) -> tuple[str, ...]:
        """Revisions that it takes, where the loop made it for that."""
        lines = self.message.splitlines() if self.ours else []
        return tuple(line.removeprefix(ACCEPTS) for line in lines if line.startswith(ACCEPTS))

    def in_words(self) -> str:
        """Commit, author and files, for people."""
        more = f" and {len(self.files) - _SHOWN} more" if len(self.files) > _SHOWN else ""
        return (
            f"{self.revision[:10]} {self.subject!r} by {self.author} <{self.email}> at "
            f"{self.at:%Y-%m-%d %H:%M} UTC changes {', '.join(self.files[:_SHOWN])}{more}"
        )


def kept_by_the_loop(domains: Iterable[str]) -> list[str]:
    """Files and folders that nobody but the loop writes."""
    folders = [layout.DATA / domain for domain in domains]
    paths = [
        layout.MANIFEST,
        layout.CLASSES,
        layout.QUERY,
        layout.METRICS,
        layout.PREVIOUS_TEACHER.parent,
    ]
    return [path.as_posix() for path in [*paths, *folders]] + ["dvc.lock", "workspace.json"]


def history(workspace: Workspace, revisions: str, paths: Sequence[str] = ()) -> list[Commit]:
    """Commits of `revisions` that touch `paths` (all without any), newest first.

    Of a merge only what is as in none of its parents.
    """
    said = workspace.git.run(*_LOG, _FORMAT, revisions, "--", *paths)
    return [_commit(record) for record in os.fsdecode(said).split("\x1e")[1:]]


def _commit(record: str) -> Commit:
    head, _, names = record.partition("\x1d")
    revision, parents, author, email, written, committed, message = head.split("\x1f", 6)
    return Commit(
        revision=revision,
        parents=tuple(parents.split()),
        author=author,
        email=email,
        written=int(written),
        committed=int(committed),
        message=message.strip(),
        files=tuple(name.strip("\n") for name in names.split("\0") if name.strip("\n")),
    )


def foreign_commits(workspace: Workspace) -> list[Commit]:
    """People's commits that changed what the loop keeps, newest first; none that was accepted.

    One that a later commit took back whole is none.
    """
    paths = kept_by_the_loop(workspace.params().domains)
    found = _not_ours(history(workspace, "HEAD", paths))
    taken = {revision for commit in acceptances(workspace) for revision in commit.accepted}
    left = [commit for commit in found if commit.revision not in taken]
    settled = _taken_back(workspace, left)
    return [commit for commit in left if commit.revision not in settled]


def acceptances(workspace: Workspace, revisions: str = "HEAD") -> list[Commit]:
    """The loop's commits that take people's, newest first."""
    said = workspace.git.run(
        "log", "--topo-order", "--fixed-strings", f"--grep={ACCEPTS}", _FORMAT, revisions
    )
    commits = [_commit(record) for record in os.fsdecode(said).split("\x1e")[1:]]
    return [commit for commit in commits if commit.accepted]


def _not_ours(commits: list[Commit]) -> list[Commit]:
    """Of a history, newest first; what is older than the loop's own first commit is no matter."""
    places = [place for place, commit in enumerate(commits) if commit.ours]
    unmarked = commits[places[-1] + 1 :] if places else commits  # an older version's time
    newer = commits[: len(commits) - len(unmarked)]
    known = [place for place, c in enumerate(unmarked) if _OLD_MESSAGES.match(c.subject)]
    since = unmarked[: known[0]] if known else []
    return [commit for commit in [*newer, *since] if commit.files and not commit.ours]


def _taken_back(workspace: Workspace, commits: Sequence[Commit]) -> set[str]:
    """Revisions of pairs of which the one undoes the other, file by file."""
    by_revision, settled = {commit.revision: commit for commit in commits}, set()
    for commit in commits:
        said = _REVERTS.search(commit.message)
        undone = by_revision.get(said.group(1)) if said else None
        if undone and undone.parents and set(commit.files) == set(undone.files):
            before = workspace.git.files_at(undone.parents[0], *undone.files)
            if workspace.git.files_at(commit.revision, *undone.files) == before:
                settled |= {commit.revision, undone.revision}
    return settled


def require_own(workspace: Workspace) -> None:
    """WorkspaceError naming people's commits to the loop's files, and what to do about each."""
    if found := foreign_commits(workspace):
        newest = found[0].revision[:10]
        more = f"\n  and {len(found) - _SHOWN} older" if len(found) > _SHOWN else ""
        raise WorkspaceError(
            "commits that are not the loop's change what it keeps:\n  "
            + "\n  ".join(commit.in_words() for commit in found[:_SHOWN])
            + more
            + "\nNothing was computed. Take one as it is, its masks as answers of its author: "
            f"`ssl-loop commit accept {newest}`; or undo it: `git revert {newest} && dvc checkout`"
        )
