"""Git's own files damaged, missing or locked: one line with file and remedy, which works."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows import cli
from flows.guards.doctor import checks
from flows.workspace.git import commands as flows_git
from flows.workspace.workspace import Workspace
from pipeline.errors import WorkspaceError
from tests.flows.conftest import hashes

COMMANDS = ("status", "run --local", "verify", "report")


def commit_object(git: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=git.parent, capture_output=True, text=True, check=True
    ).stdout.strip()
    path = git / "objects" / head[:2] / head[2:]
    path.chmod(0o644)
    path.write_bytes(b"x")


# name -> (what happens to .git, what is said, whether the command that is named mends it)
DAMAGES: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "index cut": (
        lambda git: (git / "index").write_bytes((git / "index").read_bytes()[:100]),
        ".git/index: ",
        True,
    ),
    "index with a bit flipped": (
        lambda git: (git / "index").write_bytes((git / "index").read_bytes()[:-1] + b"!"),
        ".git/index: damaged",
        True,
    ),
    "index empty": (lambda git: (git / "index").write_bytes(b""), ".git/index: ", True),
    "index gone": (lambda git: (git / "index").unlink(), ".git/index: missing", True),
    "HEAD garbled": (
        lambda git: (git / "HEAD").write_bytes(b"\x00\xff"),
        ".git/HEAD: says",
        True,
    ),
    "HEAD gone": (lambda git: (git / "HEAD").unlink(), ".git/HEAD: empty or missing", True),
    "HEAD empty": (lambda git: (git / "HEAD").write_text(""), ".git/HEAD: empty or missing", True),
    "branch garbled": (
        lambda git: (git / "refs/heads/main").write_text("zz"),
        ".git/refs/heads/main: damaged",
        True,
    ),
    "branch gone": (
        lambda git: (git / "refs/heads/main").unlink(),
        ".git/refs/heads/main: damaged",
        True,
    ),
    "refs gone": (lambda git: shutil.rmtree(git / "refs"), ".git/refs: missing", False),
    "objects gone": (lambda git: shutil.rmtree(git / "objects"), ".git/objects: missing", False),
    "commit garbled": (commit_object, ".git/objects: what HEAD needs is damaged", False),
    "settings garbled": (
        lambda git: (git / "config").write_text("[core\n"),
        ".git/config: bad config line 1",
        False,
    ),
    "all gone": (lambda git: shutil.rmtree(git), ".git: missing", False),
}


def said_by(root: Path, command: str) -> Result:
    return CliRunner().invoke(cli.main, [*command.split(), "-w", str(root)])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line_with_file_and_remedy(asked: Path, damage: str) -> None:
    hurt, message, mended = DAMAGES[damage]
    before = hashes(asked, "data", "models", "metrics")
    hurt(asked / ".git")
    for command in COMMANDS:
        result = said_by(asked, command)
        assert (result.exit_code, type(result.exception)) == (1, SystemExit), result.output
        [line] = [one for one in result.output.splitlines() if one.startswith("Error: ")]
        assert message in line
        assert result.output.count("\n") == 1
    [check] = [one for one in checks(asked) if one.name == ".git"]
    assert message in check.remedy
    assert hashes(asked, "data", "models", "metrics") == before
    if mended:
        for command in typed(check.remedy):
            subprocess.run(command, shell=True, cwd=asked, check=True)
        assert [one.name for one in checks(asked) if one.name == ".git"] == []
        assert Workspace(asked).require_clean_branch() is None
        assert Workspace(asked).git.listed("diff", "--name-only", "-z", "HEAD") == []


def typed(remedy: str) -> list[str]:
    """The commands that a message names, those after "after" first."""
    commands = remedy.split("`")[1::2]
    return sorted(commands, key=lambda command: not command.startswith("rm "))


@pytest.mark.parametrize("name", ["index", "HEAD", "refs/heads/main", "packed-refs", "config"])
def test_a_lock_that_a_killed_git_left_is_named_before_anything_is_computed(
    asked: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(flows_git, "_BUSY_WAIT_S", 0.0)
    lock = asked / f".git/{name}.lock"
    lock.touch()
    message = f"{lock}: another git is at work here, or was killed; if none runs: rm {lock}"
    with pytest.raises(WorkspaceError) as caught:
        Workspace(asked).require_clean_branch()
    assert str(caught.value) == message
    result = said_by(asked, "run --local")
    assert result.output.strip() == f"Error: {message}"
    assert any(message in check.remedy for check in checks(asked))
    subprocess.run(shlex.split(message.rpartition(": ")[2]), check=True)
    Workspace(asked).require_clean_branch()
