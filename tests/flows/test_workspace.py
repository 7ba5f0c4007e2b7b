"""A workspace on real git and DVC: what is committed, refused, and survives a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.processes import GROUP_TOKEN, carriers, child_environment, wait_until
from flows.workspace import STAGE_RECORD, Workspace, WorkspaceBusyError, is_workspace
from pipeline import layout
from pipeline.errors import ConfigError, WorkspaceError

CLASSES = ("sky", "road", "car")
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "workspace"
    return Workspace.create(root, class_names=CLASSES, overrides={"train": {"steps": 7}}).root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    """A copy of a fresh workspace; making one takes seconds."""
    root = tmp_path / "workspace"
    subprocess.run(["cp", "-a", made, root], check=True)
    return Workspace(root)


def git(workspace: Workspace, *arguments: str) -> str:
    return workspace.git.run(*arguments).decode()


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
        Workspace.create(tmp_path / "new", class_names=classes, overrides=overrides)
    assert not (tmp_path / "new").exists()


def test_folder_with_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(WorkspaceError, match="not empty"):
        Workspace.create(tmp_path, class_names=CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_finished_workspace_is_not_made_again(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="is a workspace already"):
        Workspace.create(workspace.root, class_names=CLASSES)


def test_interrupted_creation_is_completed(workspace: Workspace) -> None:
    (workspace.root / layout.MANIFEST).unlink()
    assert not is_workspace(workspace.root)
    with pytest.raises(WorkspaceError, match="not a workspace"):
        workspace.require()
    again = Workspace.create(workspace.root, class_names=CLASSES)
    assert is_workspace(again.root)


def test_tracked_folder_of_a_checkout_is_refused_but_an_ignored_one_is_fine(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("workspaces/\n")
    with pytest.raises(WorkspaceError, match="--here"):
        Workspace.create(tmp_path / "mine", class_names=CLASSES)
    made = Workspace.create(tmp_path / "workspaces/demo", class_names=CLASSES)
    made.require_clean_branch()
    around = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert around.stdout == "?? .gitignore\n"


def test_here_uses_the_repository_that_is_there(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    (tmp_path / "own.txt").write_text("mine")
    made = Workspace.create(tmp_path, class_names=CLASSES, here=True)
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
        "import sys, time; from pathlib import Path; from flows.workspace import Workspace\n"
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


# --- DVC


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
        "from pathlib import Path; from flows.workspace import Workspace\n"
        "Workspace(Path(sys.argv[1])).repro('slow')"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, workspace.root])
    found: list[psutil.Process] = []

    def sleeping() -> bool:
        tree = psutil.Process(owner.pid).children(recursive=True)
        found[:] = tree if any(process.name() == "sleep" for process in tree) else []
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
    lifeline = next(process for process in tree if "lifeline.py" in " ".join(process.cmdline()))
    sleeper = next(process for process in tree if process.name() == "sleep")
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
