"""Settings of people's git that hide, convert or leave out the loop's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows.processes.command import child_environment
from flows.workspace.create import create_workspace
from flows.workspace.git.git_settings import converted
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.flows.workspace.conftest import CLASSES, git

HIDING = "*.json\ndata/\n*.lock\n*.csv\n*.dvc\n.gitattributes\n"


@pytest.mark.programs
def test_a_list_of_ignored_files_of_all_repositories_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ignore").write_text(HIDING)
    (tmp_path / "gitconfig").write_text(f"[core]\n excludesFile = {tmp_path}/ignore\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    made = create_workspace(tmp_path / "new", class_names=CLASSES)
    tracked = git(made, "ls-files").split()
    assert {"data/manifest.csv", "metrics/answers.csv", "previous/teacher.dvc"} <= set(tracked)
    made.settle()


@pytest.mark.parametrize("place", [".git/info/exclude", ".gitignore", "data/.gitignore"])
def test_patterns_of_the_repository_itself_are_named(workspace: Workspace, place: str) -> None:
    path = workspace.root / place
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write("*.csv\n")
    with pytest.raises(WorkspaceError, match=rf"\.csv.*hidden.*{place}:\d+:\*\.csv"):
        workspace.settle()


def test_whatever_is_hidden_is_recorded_all_the_same(workspace: Workspace) -> None:
    (workspace.root / ".git/info/exclude").write_text(HIDING)
    (workspace.root / layout.EVALUATION).write_text("{}\n")
    (workspace.root / layout.METRICS / ".DS_Store").write_text("litter")
    assert workspace.commit([layout.METRICS], "Round 0 of day")
    assert "metrics/evaluation.json" in git(workspace, "ls-files").split()
    assert "metrics/.DS_Store" not in git(workspace, "ls-files").split()


@pytest.mark.parametrize("bit", ["--assume-unchanged", "--skip-worktree"])
def test_bits_by_which_git_looks_away_are_taken_back(workspace: Workspace, bit: str) -> None:
    git(workspace, "update-index", bit, "data/manifest.csv")
    manifest = workspace.root / layout.MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    assert workspace.commit([layout.MANIFEST], "More")
    assert workspace.show("HEAD", layout.MANIFEST) == manifest.read_bytes()


def test_what_git_converts_on_its_way_in_is_not_called_recorded(workspace: Workspace) -> None:
    (workspace.root / ".git/info/attributes").write_text("*.csv text\n")
    (workspace.root / layout.QUERY).write_bytes(b"rank\r\n")
    with pytest.raises(WorkspaceError, match=r"query\.csv.*info/attributes"):
        workspace.commit([layout.QUERY], "Round 0 of day")


def test_a_sparse_checkout_is_named(workspace: Workspace) -> None:
    git(workspace, "status")  # or git would leave what looks changed
    git(workspace, "sparse-checkout", "set", "--no-cone", "/*", "!/data/")
    with pytest.raises(WorkspaceError, match=r"data/manifest\.csv.*git sparse-checkout disable"):
        workspace.settle()
    git(workspace, "sparse-checkout", "disable")
    workspace.settle()


@pytest.mark.parametrize("autocrlf", ["true", "input"])
def test_line_endings_stay_also_in_workspaces_of_older_versions(
    workspace: Workspace, tmp_path: Path, autocrlf: str
) -> None:
    git(workspace, "rm", "-q", ".gitattributes")
    git(workspace, "commit", "-q", "-m", "As it was")
    clone = Workspace(tmp_path / "clone")
    env = {k: v for k, v in child_environment().items() if not k.startswith("GIT_CONFIG")}
    subprocess.run(
        [
            "git",
            "-c",
            f"core.autocrlf={autocrlf}",
            "clone",
            "-q",
            workspace.root,
            clone.root,
            "--config",
            f"core.autocrlf={autocrlf}",
        ],
        check=True,
        env=env,
    )
    (clone.root / ".ssl-loop").mkdir()
    assert bool(converted(clone.git)) == (autocrlf == "true")
    clone.settle()
    assert converted(clone.git) == []
    assert "/data/** -text" in clone.show("HEAD", Path(".gitattributes")).decode()
    assert git(clone, "status", "--porcelain") == ""
    for name in ("params.yaml", "data/manifest.csv"):
        assert (clone.root / name).read_bytes() == (workspace.root / name).read_bytes()


def test_a_failing_dvc_says_why(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match=r"nowhere.*does not exist"):
        workspace.dvc_add([Path("nowhere")])
    pointer = workspace.root / "previous/teacher.dvc"
    pointer.write_text(pointer.read_text().replace("md5: ", "md5: 0", 1))
    with pytest.raises(WorkspaceError, match=r"(?s)checkout.*previous/teacher"):
        workspace.dvc_checkout(force=True)


@pytest.mark.parametrize(
    "name",
    ["PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "GIT_DIR",
     "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMITTER_DATE", "GIT_CONFIG_PARAMETERS", "DVC_ROOT",
     "DVC_STUDIO_TOKEN", "DVC_EXP_NAME"],
)  # fmt: skip
def test_children_do_not_get_what_leads_elsewhere(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "elsewhere")
    assert name not in child_environment()
