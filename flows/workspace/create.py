"""`ssl-loop init`: a new workspace, laid down step by step; one that was killed is completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from flows.workspace.credentials import keep_private
from flows.workspace.git.commands import Git
from flows.workspace.git.git_settings import ATTRIBUTES, uncover
from flows.workspace.identity import new_identity, read_identity
from flows.workspace.params_file import check_changes
from flows.workspace.workspace import (
    BEGUN,
    Workspace,
    append_lines,
    is_workspace,
    template_file,
    tracked_by,
)
from pipeline import layout
from pipeline.config.params import AUTO_KNOBS
from pipeline.config.planned import AUTO, in_blocks
from pipeline.errors import ConfigError, WorkspaceError
from pipeline.files import write_json, write_text
from pipeline.reading import AGAIN, read
from pipeline.records.answers import write_answers
from pipeline.records.manifest import write_manifest

_PREVIOUS_DVC = layout.PREVIOUS_TEACHER.with_name(f"{layout.PREVIOUS_TEACHER.name}.dvc")
_GITIGNORE = "/.ssl-loop/\n/prefect.toml\n/report/\n__pycache__/\n"
# DVC would walk checkpoints, logs and servers' files at every command.
_DVCIGNORE = ".ssl-loop\n__pycache__\n"
_LISTS = {".gitignore": _GITIGNORE, ".dvcignore": _DVCIGNORE, ".gitattributes": ATTRIBUTES}
_FIRST_FILES = (
    Path(".gitattributes"),
    Path(".gitignore"),
    Path(".dvcignore"),
    Path(".dvc/.gitignore"),
    Path(".dvc/config"),
    _PREVIOUS_DVC,
    _PREVIOUS_DVC.with_name(".gitignore"),
    layout.PARAMS,
    layout.DVC_YAML,
    layout.MANIFEST,
    layout.ANSWERS,
    layout.WORKSPACE,
)
# check_update asks the network. Copies, since as root a stage that writes through a link would
# spoil the cache unseen. No staging: the loop commits its own list of paths.
_DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
    autostage = false
[cache]
    type = "reflink,copy"
"""


class _Note(TypedDict):
    had_dvc: bool


def create_workspace(
    root: Path,
    *,
    class_names: Sequence[str],
    overrides: Mapping[str, Any] | None = None,
    planned: bool = False,
    here: bool = False,
) -> Workspace:
    """A new workspace with its first commit; nested `overrides` change the template's params.

    `planned`: all that the loop can decide stands at auto, but for the overrides.
    An interrupted one is completed. WorkspaceError for a folder with other things in it, a finished
    workspace, or a folder that another git repository tracks unless `here` is set. ConfigError for
    params that do not hold.
    """
    workspace = Workspace(root)
    changes = _changes(class_names, overrides or {}, planned=planned)
    # Before anything is written, so that a typing error leaves nothing behind.
    check_changes(template_file(layout.PARAMS), changes)
    _require_place(workspace, here)
    branch = _branch(workspace, changes, here=here)
    changes["loop"] = {**changes.get("loop", {}), "branch": branch}
    keep_private(workspace.root)
    with workspace.lock():
        _lay_down(workspace, changes, branch)
    return workspace


def _changes(
    class_names: Sequence[str], overrides: Mapping[str, Any], *, planned: bool
) -> dict[str, Any]:
    """What the new params.yaml has other than the template; overrides go before the plan."""
    changes: dict[str, Any] = {"classes": list(class_names), **overrides}
    for block, knobs in in_blocks(dict.fromkeys(AUTO_KNOBS, AUTO)).items() if planned else ():
        changes[block] = {**knobs, **changes.get(block, {})}
    return changes


def _require_place(workspace: Workspace, here: bool) -> None:
    if is_workspace(workspace.root) and not _half_made(workspace):
        raise WorkspaceError(
            f"{workspace.root}: is a workspace already; `ssl-loop domain add` brings images to it"
        )
    if workspace.root.exists() and not workspace.root.is_dir():
        raise WorkspaceError(f"{workspace.root}: is a file; name a folder")
    interrupted = (workspace.root / layout.PRIVATE).exists()
    if not (here or interrupted) and workspace.root.exists() and any(workspace.root.iterdir()):
        raise WorkspaceError(f"{workspace.root}: not empty; name a new or an empty folder")
    tracker = None if here else tracked_by(workspace.root)
    if tracker:
        raise WorkspaceError(
            f"{workspace.root}: lies in the repository {tracker}, which would track it; choose a "
            "folder elsewhere or one that it ignores, or say --here to use that repository"
        )


def _half_made(workspace: Workspace) -> bool:
    """Whether `init` was begun here and has not come to its end."""
    manifest = layout.MANIFEST.as_posix()
    committed = workspace.git.says("rev-parse", "--quiet", "--verify", f"HEAD:{manifest}")
    return (workspace.root / BEGUN).exists() or committed is None


def _branch(workspace: Workspace, changes: Mapping[str, Any], *, here: bool) -> str:
    """Where rounds are to be committed: what was asked for, or the branch that is there.

    WorkspaceError for what git would not take as a branch, and for a repository that is
    elsewhere.
    """
    asked = changes.get("loop", {}).get("branch")
    has_git = here or (workspace.root / ".git").exists()
    there = workspace.git.says("symbolic-ref", "--quiet", "--short", "HEAD") if has_git else None
    branch: str = asked or there or "main"
    if Git(Path.cwd(), Path()).says("check-ref-format", "--branch", branch) is None:
        raise ConfigError(f"loop.branch = {branch!r}: git takes no branch of that name")
    if there and there != branch and not _unborn(workspace):
        raise WorkspaceError(
            f"{workspace.root}: on branch {there!r}, and loop.branch is to be {branch!r}; "
            f"`git checkout -b {branch}` first"
        )
    return branch


def _lay_down(workspace: Workspace, changes: Mapping[str, Any], branch: str) -> None:
    had_dvc = _begin(workspace)
    workspace.git.run("init", "--quiet", f"--initial-branch={branch}")
    if _unborn(workspace):
        workspace.git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    workspace.git.remove_own_locks()
    workspace.git.ensure_identity()
    uncover(workspace.git, ("x",))
    if not had_dvc and _read(workspace.root / ".dvc/config") != _DVC_CONFIG:
        workspace.dvc("init", "--force")
        write_text(workspace.root / ".dvc/config", _DVC_CONFIG)
    for path in (layout.PARAMS, layout.DVC_YAML):
        if not (workspace.root / path).exists():
            write_text(workspace.root / path, read(template_file(path)).text())
    workspace.write_params(changes)
    if read_identity(workspace.root) is None:
        new_identity(workspace.root)
    for name, lines in _LISTS.items():
        append_lines(workspace.root / name, lines)
    if not (workspace.root / layout.MANIFEST).exists():
        write_manifest(workspace.root / layout.MANIFEST, [])
    if not (workspace.root / layout.ANSWERS).exists():
        write_answers(workspace.root / layout.ANSWERS, [])
    nobody = {"trained": False, "why": "no round before"}
    write_json(workspace.root / layout.PREVIOUS_TEACHER / "config.json", nobody)
    workspace.dvc_add([layout.PREVIOUS_TEACHER])
    if _unborn(workspace):
        workspace.commit([], "Begin", empty=True)
    workspace.commit(_FIRST_FILES, "A new workspace of ssl-loop")
    (workspace.root / BEGUN).unlink()


def _begin(workspace: Workspace) -> bool:
    """Note that `init` is under way, until it is done; whether DVC was here before."""
    note = workspace.root / BEGUN
    if not note.exists():
        there = (workspace.root / ".dvc/config").exists()
        write_json(
            note, {"had_dvc": there and _read(workspace.root / ".dvc/config") != _DVC_CONFIG}
        )
    return read(note, remedy=AGAIN).json(_Note)["had_dvc"]


def _unborn(workspace: Workspace) -> bool:
    return workspace.git.says("rev-parse", "--quiet", "--verify", "HEAD") is None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
