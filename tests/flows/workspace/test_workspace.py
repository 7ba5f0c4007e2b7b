"""A workspace on real git and DVC: what is committed, refused, locked and tagged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.processes.command import child_environment
from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace, WorkspaceBusyError, is_workspace
from pipeline import layout
from pipeline.errors import ConfigError, WorkspaceError
from tests.flows.workspace.conftest import CLASSES, git

# --- creation


def test_new_workspace_is_committed_whole_and_keeps_comments(workspace: Workspace) -> None:
    assert is_workspace(workspace.root)
    params = workspace.params()
    assert (params.classes, params.train.steps, params.domains) == (CLASSES, 7, {})
    assert "# Every knob of a workspace" in (workspace.root / "params.yaml").read_text()
    assert workspace.manifest() == []
    assert git(workspace, "status", "--porcelain") == ""
    workspace.require_clean_branch()
    workspace.require()
    assert workspace.dvc_status() == {} or "train_baseline" in workspace.dvc_status()


def test_private_folder_is_seen_by_neither_git_nor_dvc(workspace: Workspace) -> None:
    (workspace.root / ".ssl-loop/dvc.yaml").write_text("stages: {bad: {cmd: nonsense, deps: [x]}}")
    assert git(workspace, "status", "--porcelain") == ""
    assert "bad" not in workspace.dvc("stage", "list", "--name-only").decode()


@pytest.mark.parametrize(
    ("classes", "overrides", "named"),
    [
        (["only"], {}, "classes"),
        (CLASSES, {"train": {"stepz": 3}}, "train.stepz"),
        (CLASSES, {"train": {"steps": 0}}, "train.steps"),
    ],
)
def test_bad_params_leave_nothing_behind(
    tmp_path: Path, classes: list[str], overrides: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        create_workspace(tmp_path / "new", class_names=classes, overrides=overrides)
    assert not (tmp_path / "new").exists()


def test_folder_with_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(WorkspaceError, match="not empty"):
        create_workspace(tmp_path, class_names=CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_finished_workspace_is_not_made_again(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="is a workspace already"):
        create_workspace(workspace.root, class_names=CLASSES)


def test_interrupted_creation_is_completed(workspace: Workspace) -> None:
    (workspace.root / layout.MANIFEST).unlink()
    assert not is_workspace(workspace.root)
    with pytest.raises(WorkspaceError, match="not a workspace"):
        workspace.require()
    again = create_workspace(workspace.root, class_names=CLASSES)
    assert is_workspace(again.root)


@pytest.mark.programs
def test_tracked_folder_of_a_checkout_is_refused_but_an_ignored_one_is_fine(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("workspaces/\n")
    with pytest.raises(WorkspaceError, match="--here"):
        create_workspace(tmp_path / "mine", class_names=CLASSES)
    made = create_workspace(tmp_path / "workspaces/demo", class_names=CLASSES)
    made.require_clean_branch()
    around = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert around.stdout == "?? .gitignore\n"


@pytest.mark.programs
def test_here_uses_the_repository_that_is_there(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    (tmp_path / "own.txt").write_text("mine")
    made = create_workspace(tmp_path, class_names=CLASSES, here=True)
    assert git(made, "status", "--porcelain") == "?? own.txt\n"


# --- params


def test_write_params_keeps_comments_and_order(workspace: Workspace) -> None:
    before = (workspace.root / layout.PARAMS).read_text()
    workspace.write_params({"domain": "day", "domains": {"day": {"budget": 3}}})
    after = (workspace.root / layout.PARAMS).read_text()
    assert workspace.params().budget("day") == 3
    assert "domains:\n  day:\n    budget: 3\n" in after
    assert [line for line in before.splitlines() if "#" in line] == [
        line for line in after.splitlines() if "#" in line
    ]
    changed = [line for line in before.splitlines() if line not in after.splitlines()]
    assert changed == ["domain: null", "domains: {}"]


def test_refused_params_change_nothing(workspace: Workspace) -> None:
    before = (workspace.root / layout.PARAMS).read_bytes()
    with pytest.raises(ConfigError, match="domain 'dusk' is not one of"):
        workspace.write_params({"domain": "dusk"})
    assert (workspace.root / layout.PARAMS).read_bytes() == before


# --- the lock


def test_lock_is_exclusive_names_its_holder_and_dies_with_it(workspace: Workspace) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from flows.workspace.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(300)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, workspace.root], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceBusyError, match=f"process {holder.pid} "), workspace.lock():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with workspace.lock():
        pass


# --- git


def test_commit_takes_the_listed_paths_and_nothing_else(workspace: Workspace) -> None:
    (workspace.root / "mine.txt").write_text("a person's work")
    (workspace.root / "staged.txt").write_text("a person's work")
    git(workspace, "add", "staged.txt")
    (workspace.root / "query.csv").write_text("rank\n")
    revision = workspace.commit([layout.QUERY, Path("absent.csv")], "Round 0")
    assert revision == workspace.head()
    assert git(workspace, "show", "--name-only", "--format=").split() == ["query.csv"]
    assert git(workspace, "status", "--porcelain") == "A  staged.txt\n?? mine.txt\n"
    assert workspace.commit([layout.QUERY], "Round 0 again") is None
    (workspace.root / "query.csv").unlink()
    assert workspace.commit([layout.QUERY], "The query is gone") != revision


def test_failed_commit_leaves_nothing_of_it_staged(workspace: Workspace) -> None:
    (workspace.root / "query.csv").write_text("rank\n")
    (workspace.root / ".ssl-loop/ledger.db").touch()
    with pytest.raises(WorkspaceError, match="ignored"):
        workspace.commit([layout.QUERY, layout.LEDGER], "Round 0")
    assert git(workspace, "diff", "--cached", "--name-only") == ""


def test_commit_needs_no_identity_signature_or_hook(workspace: Workspace) -> None:
    git(workspace, "config", "commit.gpgSign", "true")
    git(workspace, "config", "gpg.program", "/bin/false")
    hook = workspace.root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (workspace.root / "query.csv").write_text("rank\n")
    assert workspace.commit([layout.QUERY], "Round 0")
    workspace.tag("day/r0", "round 0")


def test_tag_twice_is_one_tag_and_never_moves(workspace: Workspace) -> None:
    workspace.tag("day/r0", "round 0")
    workspace.tag("day/r0", "round 0")
    assert workspace.tags_merged() == ["day/r0"]
    (workspace.root / "query.csv").write_text("rank\n")
    workspace.commit([layout.QUERY], "more")
    with pytest.raises(WorkspaceError, match="already names"):
        workspace.tag("day/r0", "round 0")


def test_tags_of_another_branch_are_no_evidence(workspace: Workspace) -> None:
    git(workspace, "checkout", "-q", "-b", "other")
    (workspace.root / "query.csv").write_text("rank\n")
    workspace.commit([layout.QUERY], "elsewhere")
    workspace.tag("day/r0", "elsewhere")
    git(workspace, "checkout", "-q", "main")
    assert workspace.tags_merged() == []
    assert workspace.show("day/r0", layout.QUERY) == b"rank\n"
    with pytest.raises(WorkspaceError, match=r"query\.csv"):
        workspace.show("HEAD", layout.QUERY)


def test_every_unfinished_state_is_refused_with_its_remedy(workspace: Workspace) -> None:
    git(workspace, "checkout", "-q", "-b", "other")
    with pytest.raises(WorkspaceError, match=r"branch 'other'.*git checkout main"):
        workspace.require_clean_branch()
    git(workspace, "checkout", "-q", "--detach")
    with pytest.raises(WorkspaceError, match="detached HEAD"):
        workspace.require_clean_branch()
    git(workspace, "checkout", "-q", "main")
    (workspace.root / ".git/MERGE_HEAD").touch()
    with pytest.raises(WorkspaceError, match="git merge --abort"):
        workspace.require_clean_branch()
    (workspace.root / ".git/MERGE_HEAD").unlink()
    workspace.require_clean_branch()
    (workspace.root / ".git/index.lock").touch()
    with pytest.raises(WorkspaceError, match=r"rm .*index\.lock"):
        workspace.require_clean_branch()


def test_lock_of_our_killed_git_is_cleared_and_a_foreign_one_is_not(workspace: Workspace) -> None:
    lock = workspace.root / ".git/index.lock"
    lock.touch()
    with workspace.lock():
        assert lock.exists()
    lock.unlink()
    workspace.git.marker.touch()  # as left by kill -9 during a commit or a tag
    lock.touch()
    refs = workspace.root / ".git/refs/tags/day/r0.lock"
    refs.parent.mkdir()
    refs.touch()
    with workspace.lock():
        assert not lock.exists()
        assert not refs.exists()
        workspace.tag("day/r0", "round 0")


def test_git_variables_of_a_caller_do_not_lead_elsewhere(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    workspace.require_clean_branch()
    assert child_environment()["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
