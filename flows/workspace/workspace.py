"""A workspace: one git + DVC repository, and everything the loop does to it.

The command lines of git and DVC are used, since they are their documented interfaces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from flows.processes.command import kill_survivors, run, stream
from flows.workspace.dvc.dvc_files import DVC_LOCK, locked_stages
from flows.workspace.dvc.dvc_locks import release_dead_holders
from flows.workspace.git.commands import Git
from flows.workspace.git.git_settings import ATTRIBUTES, convert_back, require_whole, uncover
from flows.workspace.git.git_state import require_readable
from flows.workspace.holder import LockHolder, find_holder, noted
from flows.workspace.params_file import apply_changes
from pipeline import layout
from pipeline.config.params import Params, load_params
from pipeline.errors import WorkspaceError
from pipeline.files import file_lock, write_text
from pipeline.reading import AGAIN, Document, content_of
from pipeline.records.evaluation import parse_evaluation
from pipeline.records.manifest import Sample, parse_manifest, read_manifest

_DVC_HINTS = ("To track the changes", "git add ", "To enable auto", "dvc config", "Use `dvc push`")
STAGE_RECORD = layout.PRIVATE / "stage.json"  # the running stage's group, for who comes after
BEGUN = layout.PRIVATE / "init.json"  # while `ssl-loop init` is under way
WRITING = layout.PRIVATE / "writing-data"  # while a step of ours changes data/, or was killed at it
GIT_MARKER = layout.PRIVATE / "git-writing"


class WorkspaceBusyError(WorkspaceError):
    """Another process holds the workspace's lock."""


class Workspace:
    """The repository at `root`; cheap to make, nothing is read before it is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.git = Git(self.root, self.root / GIT_MARKER)

    def require(self) -> None:
        """WorkspaceError unless `root` is a workspace, made to the end."""
        if (self.root / BEGUN).exists():
            raise WorkspaceError(
                f"{self.root}: `ssl-loop init` was not finished here; run it again with the same "
                "arguments"
            )
        if self.lacks_git():
            self.require_git()
        if not is_workspace(self.root):
            raise WorkspaceError(
                f"{self.root}: not a workspace; `ssl-loop init {self.root}` makes one, or go to one"
            )
        self.require_git()

    def lacks_git(self) -> bool:
        """Whether git's folder alone is gone from what was a workspace."""
        return not (self.root / ".git").exists() and (self.root / layout.WORKSPACE).exists()

    def require_git(self) -> None:
        """WorkspaceError naming file and remedy for what is damaged or missing in .git."""
        require_readable(self.git, lambda: self.params().loop.branch)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace alone, what a crash left being cleared first; WorkspaceBusyError.

        The kernel gives the lock back when the holder dies, however it dies.
        """
        path = self.root / layout.LOCK
        path.parent.mkdir(exist_ok=True)
        with file_lock(path) as ours:
            if not ours:
                holder = path.read_text(encoding="utf-8").strip() or "unknown"
                raise WorkspaceBusyError(
                    f"{self.root}: in use by process {holder}; wait for it, or look at "
                    "`ssl-loop status`"
                )
            with noted(path):
                kill_survivors(self.root / STAGE_RECORD)
                release_dead_holders(self.root)
                self.git.remove_own_locks()
                yield

    def holder(self) -> LockHolder | None:
        """Who holds the lock and which stage it runs; None while nobody does."""
        return find_holder(self.root / layout.LOCK, self.root / STAGE_RECORD)

    @contextlib.contextmanager
    def writing_data(self) -> Iterator[None]:
        """What changes below data/ is a step's of ours, also where it does not come to its end."""
        (self.root / WRITING).touch()
        yield
        (self.root / WRITING).unlink(missing_ok=True)

    # --- params and manifest

    def params(self) -> Params:
        """params.yaml, validated."""
        return load_params(self.root / layout.PARAMS)

    def write_params(self, changes: Mapping[str, Any]) -> Params:
        """Merge nested `changes` into params.yaml, comments kept; ConfigError changes nothing."""
        return apply_changes(self.root / layout.PARAMS, changes)

    def manifest(self) -> list[Sample]:
        """data/manifest.csv."""
        return read_manifest(self.root / layout.MANIFEST)

    # --- git

    def require_clean_branch(self) -> None:
        """WorkspaceError naming the remedy unless HEAD is the workspace's branch, all finished."""
        self.git.require_branch(self.params().loop.branch)

    def head(self) -> str:
        """The commit checked out."""
        return self.git.head()

    def tags_merged(self) -> list[str]:
        """Tags reachable from HEAD, oldest first: the evidence of what was done."""
        return self.git.tags_merged()

    def tagged_commits(self) -> dict[str, str]:
        """As `tags_merged`, with the commit that each names."""
        return self.git.tagged_commits()

    def show(self, revision: str, path: Path) -> bytes:
        """A file as it was at `revision`."""
        return self.git.show(revision, path)

    def file_at(self, revision: str, path: Path) -> Document:
        """A file as it was, to be read as what it should be."""
        return self.git.file_at(revision, path)

    def manifest_at(self, revision: str) -> list[Sample]:
        """data/manifest.csv as it was."""
        return parse_manifest(self.file_at(revision, layout.MANIFEST))

    def evaluation_at(self, revision: str) -> dict[str, Any]:
        """metrics/evaluation.json as it was."""
        return parse_evaluation(self.file_at(revision, layout.EVALUATION))

    def exists_at(self, revision: str, path: Path) -> bool:
        """Whether git has a file at `revision`."""
        return self.git.says("cat-file", "-e", f"{revision}:{path.as_posix()}") is not None

    def revision(self, name: str) -> str:
        """The commit that a tag or branch names."""
        return self.git.run("rev-parse", f"{name}^{{commit}}").decode().strip()

    def locked_outs(self, revision: str) -> dict[str, str]:
        """`path -> DVC's hash` of every stage's outputs, by dvc.lock at `revision`."""
        stages = locked_stages(self.file_at(revision, DVC_LOCK))
        return {out["path"]: out["md5"] for made in stages.values() for out in made.get("outs", ())}

    def checkout_paths(self, revision: str, paths: Iterable[Path]) -> None:
        """Bring working copies back to `revision`; follow with `dvc_checkout` for data."""
        self.git.restore(revision, paths)

    def commit(self, paths: Iterable[Path], message: str, *, empty: bool = False) -> str | None:
        """Commit exactly `paths`; the revision, or None when nothing of them changed."""
        return self.git.commit(list(paths), message, empty=empty)

    def tag(self, name: str, message: str, at: str = "HEAD") -> None:
        """Name a commit; the same again is fine, WorkspaceError for another commit."""
        self.git.tag(name, message, at)

    def tag_message(self, name: str) -> str:
        """First line of what was said with a tag."""
        form = "--format=%(contents:subject)"
        return self.git.run("for-each-ref", form, f"refs/tags/{name}").decode().strip()

    # --- DVC

    def dvc(self, *arguments: str, remedy: str = "") -> bytes:
        """Standard output of `dvc ARGUMENTS`, waiting for another dvc; or WorkspaceError.

        Never with --quiet: DVC would keep the reason of a failure to itself, too.
        """
        return run(["dvc", "--wait-for-lock", *arguments], cwd=self.root, remedy=remedy)

    def dvc_add(self, paths: Iterable[Path]) -> None:
        """Put folders or files under DVC: `<path>.dvc` beside each, for the commit."""
        self.dvc("add", *(path.as_posix() for path in paths))

    def dvc_checkout(self, paths: Iterable[Path] = (), *, force: bool = False) -> None:
        """Working copies as the .dvc files and dvc.lock say; all of them without `paths`.

        With `force`, files that DVC has no copy of are overwritten too.
        """
        options = ["--force"] if force else []
        self.dvc("checkout", *options, *(path.as_posix() for path in paths))

    def repro(self, stage: str, on_line: Callable[[str], None] = print) -> None:
        """Bring one stage (all domains of `embed`) up to date; WorkspaceError with its last lines.

        The stage dies with this process; see flows/processes/command.py.
        """
        stream(
            ["dvc", "--wait-for-lock", "repro", "--single-item", stage],
            cwd=self.root,
            record=self.root / STAGE_RECORD,
            on_line=lambda line: None if _is_hint(line) else on_line(line),
        )

    def dvc_status(self) -> dict[str, Any]:
        """What `dvc repro` would have to do, by stage; empty when all is up to date."""
        said = content_of(self.dvc("status", "--json"), "dvc status --json", remedy=AGAIN)
        return said.json(dict[str, Any])

    def settle(self, log: Callable[[str], object] = print) -> None:
        """Put right what people's git settings do to the loop's files; WorkspaceError for the rest.

        Workspaces of older versions get their .gitattributes here.
        """
        require_whole(self.git)
        params = self.params()
        uncover(self.git, params.domains or ("x",))
        if append_lines(self.root / ".gitattributes", ATTRIBUTES):
            self.commit([Path(".gitattributes")], "Files of the loop keep their bytes in git")
        if found := convert_back(self.git):
            log(f"line endings as git has them again, in {', '.join(found)}")


def _is_hint(line: str) -> bool:
    """DVC's advice to do by hand what the loop does."""
    return not line.strip() or line.strip().startswith(_DVC_HINTS)


def is_workspace(root: Path) -> bool:
    """Whether `root` holds a finished workspace: git, DVC, params and a manifest."""
    parts = (".git", ".dvc/config", layout.PARAMS, layout.DVC_YAML, layout.MANIFEST)
    return all((root / part).exists() for part in parts)


def template_file(name: Path) -> Path:
    """A file of every new workspace, as the package has it."""
    return Path(str(files("flows.workspace") / "template" / str(name)))


def tracked_by(root: Path) -> Path | None:
    """Top of the repository around `root` (not at it) that does not ignore it."""
    parent = next(folder for folder in root.parents if folder.is_dir())
    around = Git(parent, parent / GIT_MARKER)
    top = around.says("rev-parse", "--show-toplevel")
    if top is None or around.says("check-ignore", str(root)) is not None:
        return None
    return Path(top)


def append_lines(path: Path, lines: str) -> bool:
    """Whether some of `lines` were missing, which they no longer are."""
    present = (
        path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        if path.exists()
        else []
    )
    missing = [line for line in lines.splitlines() if line not in present]
    if missing:
        write_text(path, "".join(f"{line}\n" for line in [*present, *missing]))
    return bool(missing)
