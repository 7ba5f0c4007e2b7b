"""`init` that is killed or refused half-way is completed by the next one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.workspace import create
from flows.workspace import workspace as flows_workspace
from flows.workspace.create import create_workspace
from flows.workspace.git import commands as flows_git
from flows.workspace.workspace import Workspace
from pipeline.errors import ConfigError, WorkspaceError
from tests.flows.workspace.conftest import CLASSES, git
from tests.support.processes import Killed

pytestmark = pytest.mark.programs


def test_killed_at_each_of_its_steps_it_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt dies one change later than the one before, on what that one left."""
    root, calls, limit, git_run = tmp_path / "new", [0], [0], flows_git.run

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if original is git_run and not {"init", "add", "commit"} & set(args[0][:2]):
                return original(*args, **kwargs)  # looks only
            calls[0] += 1
            if calls[0] == limit[0]:
                raise Killed
            return original(*args, **kwargs)

        return step

    for owner, name in (
        (flows_workspace, "run"),
        (create, "write_text"),
        (create, "write_json"),
        (create, "write_manifest"),
        (create, "write_answers"),
        (flows_workspace, "apply_changes"),
        (flows_git, "run"),
    ):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    for point in range(1, 40):
        calls[0], limit[0] = 0, point
        try:
            create_workspace(root, class_names=CLASSES, overrides={"train": {"steps": 7}})
            break
        except Killed:
            with pytest.raises(WorkspaceError, match="init"):
                Workspace(root).require()
    assert point > 5
    workspace = Workspace(root)
    workspace.require()
    workspace.require_clean_branch()
    assert git(workspace, "status", "--porcelain") == ""
    assert (workspace.params().classes, workspace.params().train.steps) == (CLASSES, 7)
    workspace.dvc("checkout", "previous/teacher.dvc")
    assert len(git(workspace, "log", "--format=%H").split()) == 2
    with pytest.raises(WorkspaceError, match="already"):
        create_workspace(root, class_names=CLASSES)


def test_an_init_of_an_older_version_that_never_committed_is_completed(tmp_path: Path) -> None:
    made = create_workspace(tmp_path / "new", class_names=CLASSES)
    for name in ("HEAD", "main"):
        git(made, "update-ref", "-d", "HEAD" if name == "HEAD" else f"refs/heads/{name}")
    with pytest.raises(WorkspaceError, match="init` was not finished"):
        made.require_clean_branch()
    create_workspace(tmp_path / "new", class_names=CLASSES).require_clean_branch()


@pytest.mark.parametrize("fault", ["signature", "hook", "no name", "template"])
def test_settings_that_refuse_a_commit_do_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    settings, folder = tmp_path / "gitconfig", tmp_path / "hooks"
    folder.mkdir()
    for name in ("pre-commit", "prepare-commit-msg", "post-commit", "reference-transaction"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    name = "[user]\n name = A\n email = a@b\n"
    settings.write_text(
        {
            "signature": name + "[commit]\n gpgSign = true\n[tag]\n gpgSign = true\n"
            "[gpg]\n program = /bin/false\n",
            "hook": name + f"[core]\n hooksPath = {folder}\n",
            "no name": "[user]\n email = a@b\n useConfigOnly = true\n",
            "template": name + "[commit]\n template = /nowhere\n cleanup = scissors\n",
        }[fault]
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    if fault == "no name":
        monkeypatch.setenv("GIT_AUTHOR_NAME", "")
    made = create_workspace(tmp_path / "new", class_names=CLASSES)
    made.require_clean_branch()


def test_the_branch_that_was_asked_for_is_made(tmp_path: Path) -> None:
    made = create_workspace(
        tmp_path / "new", class_names=CLASSES, overrides={"loop": {"branch": "trunk"}}
    )
    made.require_clean_branch()
    assert git(made, "branch", "--format=%(refname:short)").split() == ["trunk"]
    made.write_params({"loop": {"branch": "trunkk"}})
    with pytest.raises(WorkspaceError, match=r"loop\.branch = 'trunkk'.*trunk"):
        made.require_clean_branch()


@pytest.mark.parametrize("name", ["two words", "a..b", "-x", "end.lock"])
def test_a_branch_that_git_does_not_take_is_refused_before_anything(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"loop\.branch"):
        create_workspace(
            tmp_path / "new", class_names=CLASSES, overrides={"loop": {"branch": name}}
        )
    assert not (tmp_path / "new").exists()


def test_a_repository_that_is_there_keeps_its_branch(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "master", tmp_path], check=True)
    who = ("-c", "user.name=A", "-c", "user.email=a@b")
    subprocess.run(
        ["git", "-C", tmp_path, *who, "commit", "-q", "--allow-empty", "-m", "mine"], check=True
    )
    with pytest.raises(WorkspaceError, match=r"'master'.*'trunk'.*git checkout -b trunk"):
        create_workspace(
            tmp_path, class_names=CLASSES, overrides={"loop": {"branch": "trunk"}}, here=True
        )
    made = create_workspace(tmp_path, class_names=CLASSES, here=True)
    assert made.params().loop.branch == "master"
    made.require_clean_branch()
