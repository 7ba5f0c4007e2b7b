"""Stages and data of a workspace by DVC, and what is left of a stage whose owner dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.processes.command import GROUP_TOKEN, carriers, wait_until
from flows.workspace.holder import LockHolder
from flows.workspace.workspace import STAGE_RECORD, Workspace
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.flows.workspace.conftest import git
from tests.support.processes import find

# Writes its outs at once, or only when a file says so: a training that takes long.
STAGES = """
stages:
  embed:
    foreach: ${domains}
    do:
      cmd: echo embedding ${key} && mkdir -p predictions && echo x > predictions/${key}.npz
      deps:
        - data/${key}/images
      outs:
        - predictions/${key}.npz
  slow:
    cmd: sleep 300
  failing:
    cmd: echo the cause >&2 && exit 3
"""


@pytest.fixture
def staged(workspace: Workspace) -> Workspace:
    (workspace.root / "dvc.yaml").write_text(STAGES)
    for domain in ("day", "dusk"):
        folder = workspace.root / layout.images_dir(domain)
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"pixels")
    workspace.write_params({"domains": {"day": {}, "dusk": {}}, "domain": "dusk"})
    workspace.dvc_add([layout.images_dir("day"), layout.images_dir("dusk")])
    return workspace


def test_who_looks_meanwhile_sees_which_stage_runs(staged: Workspace) -> None:
    seen: list[LockHolder | None] = []
    with staged.lock():
        staged.repro("embed", lambda line: seen.append(staged.holder()))
        seen.append(staged.holder())
    *during, after = seen
    assert {holder.stage for holder in during if holder} == {"embed"}
    assert all(holder and holder.stage_since for holder in during)
    assert after
    assert (after.stage, after.stage_since) == (None, None)


def test_stage_of_every_domain_runs_once_with_its_lines(staged: Workspace) -> None:
    lines: list[str] = []
    staged.repro("embed", lines.append)
    assert [line for line in lines if line.startswith("embedding")] == [
        "embedding day",
        "embedding dusk",
    ]
    lines.clear()
    staged.repro("embed", lines.append)
    assert not [line for line in lines if line.startswith("embedding")]
    assert not (staged.root / STAGE_RECORD).exists()


def test_failing_stage_tells_command_code_and_last_lines(staged: Workspace) -> None:
    with pytest.raises(WorkspaceError, match=r"(?s)repro --single-item failing.*255.*the cause"):
        staged.repro("failing", lambda line: None)


def test_data_comes_back_and_leftovers_need_force(staged: Workspace) -> None:
    paths = [Path("data/day/images.dvc"), Path("data/day/.gitignore")]
    staged.commit(paths, "ingest")
    image = staged.root / "data/day/images/a.png"
    image.unlink()
    staged.dvc_checkout([Path("data/day/images.dvc")])
    assert image.read_bytes() == b"pixels"
    (image.parent / "leftover.png").write_bytes(b"of a crash")
    with pytest.raises(WorkspaceError, match="dvc --wait-for-lock checkout"):
        staged.dvc_checkout([paths[0]])
    staged.dvc_checkout([paths[0]], force=True)
    assert [path.name for path in image.parent.iterdir()] == ["a.png"]
    (staged.root / paths[0]).write_text("broken")
    staged.checkout_paths("HEAD", [paths[0]])
    assert git(staged, "status", "--porcelain", "--", "data/day") == ""


def _start_slow(workspace: Workspace) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    # A shell that starts a job with & has it ignore Ctrl-C, and so all that the job starts.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; from flows.workspace.workspace import Workspace\n"
        "Workspace(Path(sys.argv[1])).repro('slow')"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, workspace.root])
    found: list[psutil.Process] = []

    def sleeping() -> bool:
        tree = psutil.Process(owner.pid).children(recursive=True)
        found[:] = tree if find(tree, "^sleep 300") else []
        return bool(found)

    assert wait_until(sleeping, timeout_s=30)
    return owner, found


def test_stage_dies_with_its_owner(staged: Workspace) -> None:
    owner, tree = _start_slow(staged)
    owner.kill()
    owner.wait()
    _, living = psutil.wait_procs(tree, timeout=5)
    assert living == []


def test_interrupted_stage_is_ended(staged: Workspace) -> None:
    owner, tree = _start_slow(staged)
    owner.send_signal(signal.SIGINT)
    assert owner.wait(timeout=20) != 0
    _, living = psutil.wait_procs(tree, timeout=5)
    assert living == []
    assert not (staged.root / STAGE_RECORD).exists()


def test_orphan_of_a_killed_group_leader_is_ended_by_the_next_holder(staged: Workspace) -> None:
    owner, tree = _start_slow(staged)
    lifeline, sleeper = find(tree, "die_with_parent.py"), find(tree, "^sleep 300")
    assert lifeline
    assert sleeper
    token = sleeper.environ()[GROUP_TOKEN]
    owner.send_signal(signal.SIGSTOP)  # so that it cannot clean up when its child goes
    lifeline.kill()
    owner.kill()
    owner.wait()
    time.sleep(0.2)
    assert sleeper.is_running()
    bystander = subprocess.Popen(["sleep", "60"], cwd=staged.root)
    try:
        with staged.lock():
            assert carriers(GROUP_TOKEN, token) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
