"""Freeing the cache: nothing that a tag needs goes, and what went by other hands is said."""

from __future__ import annotations

import fcntl
import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.guards.doctor import checks
from flows.versions.collect_garbage import USERS, collect_garbage, lost_by_tag, users
from flows.versions.restore import restore
from flows.workspace.dvc.dvc_cache import cache_of
from flows.workspace.workspace import Workspace, WorkspaceBusyError
from pipeline.errors import WorkspaceError


def junk(workspace: Workspace) -> Path:
    """An object that nothing names."""
    path = cache_of(workspace).object("ab" + "0" * 30)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"twelve bytes")
    return path


def test_what_no_tag_needs_goes_and_all_tags_come_back(shifted: Path, tmp_path: Path) -> None:
    workspace = Workspace(shifted)
    tags = workspace.tags_merged()
    lost_before = junk(workspace)
    other = restore(str(shifted), "day/r0", tmp_path / "other", lambda line: None).root
    assert users(cache_of(workspace)) == [other]
    (other / "extra.txt").write_text("a thing of the workspace that shares the cache")
    Workspace(other).dvc("add", "extra.txt")
    ran = CliRunner().invoke(main, ["gc", "--dry-run", "--json", "--workspace", str(shifted)])
    told = json.loads(ran.output)
    assert (told["freed_objects"], told["freed_bytes"], told["dry_run"]) == (1, 12, True)
    assert lost_before.exists()
    assert collect_garbage(workspace, dry_run=False).freed_bytes == 12
    assert not lost_before.exists()
    assert lost_by_tag(workspace, tags) == {}
    Workspace(other).dvc("checkout", "extra.txt.dvc")
    with pytest.raises(WorkspaceError, match=f"{shifted}; `ssl-loop gc` there"):
        collect_garbage(Workspace(other), dry_run=False)
    other.rename(tmp_path / "moved")
    with pytest.raises(WorkspaceError, match=USERS):
        collect_garbage(workspace, dry_run=False)


def test_a_branch_a_stash_and_the_working_copy_count(shifted: Path) -> None:
    workspace = Workspace(shifted)
    names = ("branch.txt", "stash.txt", "working.txt")
    for name in names:
        (shifted / name).write_text(name)
        workspace.dvc("add", name)
        if name == "branch.txt":
            workspace.git.run("checkout", "-q", "-b", "side")
            workspace.git.run("add", f"{name}.dvc", ".gitignore")
            workspace.git.run("commit", "-q", "-m", "On a branch")
            workspace.git.run("checkout", "-q", "main")
        elif name == "stash.txt":
            workspace.git.run("add", "-f", f"{name}.dvc")
            workspace.git.run("stash", "-q")
    collect_garbage(workspace, dry_run=False)  # what git keeps itself may go
    cache = cache_of(workspace)
    for name in names:
        md5 = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        assert cache.object(md5).read_text() == name


def test_refused_while_somebody_works_here(shifted: Path) -> None:
    workspace, beside = Workspace(shifted), Workspace(shifted)
    lost = junk(workspace)
    with beside.lock(), pytest.raises(WorkspaceBusyError):
        collect_garbage(workspace, dry_run=False)
    with (shifted / ".dvc/tmp/lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WorkspaceBusyError, match="`dvc` runs"):
            collect_garbage(workspace, dry_run=False)
    assert lost.exists()


def test_tags_that_dvc_gc_took_the_files_of_are_named(shifted: Path) -> None:
    workspace = Workspace(shifted)
    assert all(check.ok for check in checks(shifted) if check.name.startswith("tag"))
    workspace.dvc("gc", "--workspace", "--force")
    lost = lost_by_tag(workspace, workspace.tags_merged())
    assert set(lost) == {
        "day/ingest",
        "day/r0",
        "day/r0-labels",
        "day/r1",
        "day/final",
        "dusk/ingest",
    } & set(lost)
    assert "models/teacher" in lost["day/r0"]
    bad = {check.name: check for check in checks(shifted) if not check.ok}
    assert "models/teacher" in bad["tag day/r0"].found
    assert "tag dusk/r0" not in bad
    with pytest.raises(WorkspaceError, match="git tag -d"):
        collect_garbage(workspace, dry_run=True)
