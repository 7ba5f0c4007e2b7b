"""A fresh workspace on real git and DVC."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows.workspace.create import create_workspace
from flows.workspace.workspace import Workspace

CLASSES = ("sky", "road", "car")


@pytest.fixture(scope="module", autouse=True)
def dvc_in_process() -> None:
    """Here DVC's own program is used: how it is started, waited for and killed is the subject."""


@pytest.fixture(scope="module")
def fresh_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "workspace"
    return create_workspace(root, class_names=CLASSES, overrides={"train": {"steps": 7}}).root


@pytest.fixture
def workspace(fresh_workspace: Path, tmp_path: Path) -> Workspace:
    """A copy of a fresh workspace; making one takes seconds."""
    root = tmp_path / "workspace"
    subprocess.run(["cp", "-a", fresh_workspace, root], check=True)
    return Workspace(root)


def git(workspace: Workspace, *arguments: str) -> str:
    return workspace.git.run(*arguments).decode()
