"""What is tagged lies a second time: pushed by the tick, never in its way, back by commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.loop import Loop
from flows.processes.command import child_environment, run
from flows.steps import push as push_step
from flows.steps.push import push
from flows.tick import tick
from flows.versions import pushes
from flows.versions.pushes import unpushed
from flows.versions.restore import restore
from flows.views.status import describe, status
from flows.workspace import remote as remotes
from flows.workspace.dvc.dvc_cache import Cache, outs_at
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import ConfigError, WorkspaceError
from tests.flows.conftest import CLASSES, Campaign, hashes
from tests.flows.crash_driver import PUSH_POINTS, killed_at
from tests.flows.test_crashes import answer_all, open_loop, run_tick
from tests.support.fake_annotator import FakeAnnotator

PAGE = Path(__file__).parents[3] / "docs/versions.md"
TAGS = ["day/ingest", "day/r0", "day/r0-labels", "day/r1", "day/final", "dusk/ingest", "dusk/r0"]


@pytest.fixture(scope="session")
def pushed(campaign: Campaign, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign with remotes that hold all its tags; they were set up after its rounds."""
    base = tmp_path_factory.mktemp("pushed")
    root = campaign.copy(base)
    remotes.add(Workspace(root), str(base / "store"), str(base / "history.git"))
    assert run_tick(root, base / "tool.json") == "waiting 0/3: 3 open (dusk/r0)"
    return base


@pytest.fixture
def backed_up(pushed: Path, tmp_path: Path) -> Path:
    """A copy of everything, remotes too."""
    base = tmp_path / "pushed"
    shutil.copytree(pushed, base, symlinks=True)
    workspace = Workspace(base / "workspace")
    config = base / "workspace/.dvc/config"
    config.write_text(config.read_text().replace(str(pushed), str(base)))
    workspace.commit([remotes.CONFIG], "Where the copy's remote is")
    workspace.git.run("remote", "set-url", remotes.NAME, str(base / "history.git"))
    workspace.git.run("push", "--quiet", remotes.NAME, "main")
    with sqlite3.connect(base / "workspace" / layout.LEDGER) as ledger:
        loop = open_loop(base / "workspace", base / "tool.json")
        keys = {event_key(loop, tag): tag for tag in TAGS}
        loop.ledger.close()
        for key, tag in keys.items():
            ledger.execute(
                "UPDATE event SET key = ? WHERE kind = 'pushed' AND subject = ?", (key, tag)
            )
    ledger.close()
    return base


def event_key(loop: Loop, tag: str) -> str:
    return pushes._key(pushes.PUSHED, remotes.remote(loop.workspace), tag)


def forget(base: Path, tag: str) -> None:
    """As if the tick had just made `tag`: neither half has it, nor does the ledger say so."""
    with sqlite3.connect(base / "workspace" / layout.LEDGER) as ledger:
        ledger.execute("DELETE FROM event WHERE kind = 'pushed' AND subject = ?", (tag,))
    ledger.close()
    workspace = Workspace(base / "workspace")
    workspace.git.run("push", "--quiet", remotes.NAME, f":refs/tags/{tag}")
    for out in outs_at(workspace.git, tag):
        if "embeddings/dusk" in out.path or "models/" in out.path:
            Cache(base / "store").object(out.md5).unlink(missing_ok=True)


def lacking(base: Path) -> list[str]:
    """Tags, or files of tags, that the remotes do not have."""
    git = Workspace(base / "workspace").git
    there = subprocess.check_output(["git", "tag"], cwd=base / "history.git", text=True).split()
    lacks = [tag for tag in TAGS if tag not in there]
    for tag in TAGS:
        outs = [out for out in outs_at(git, tag) if not out.remade]
        lacks += Cache(base / "store").missing(outs)
    return lacks


def test_every_tag_is_pushed_though_older_than_the_remote(pushed: Path) -> None:
    # `dvc push --all-tags` would skip them all, with exit code 0.
    assert lacking(pushed) == []
    loop = open_loop(pushed / "workspace", pushed / "tool.json")
    assert unpushed(loop) == []
    assert status(loop).not_pushed == ()
    loop.ledger.close()


def test_what_a_tick_seals_it_also_pushes(backed_up: Path) -> None:
    answer_all(backed_up / "tool.json")
    run_tick(backed_up / "workspace", backed_up / "tool.json")
    loop = open_loop(backed_up / "workspace", backed_up / "tool.json")
    assert "dusk/r1" in loop.workspace.tags_merged()
    assert unpushed(loop) == []
    loop.ledger.close()


@pytest.mark.parametrize("point", PUSH_POINTS)
def test_killed_between_tag_and_push_the_next_tick_pushes(point: str, backed_up: Path) -> None:
    forget(backed_up, "dusk/r0")
    assert lacking(backed_up) != []
    root, tool = backed_up / "workspace", backed_up / "tool.json"
    assert killed_at(point, root, tool)
    assert run_tick(root, tool) == "waiting 0/3: 3 open (dusk/r0)"
    assert lacking(backed_up) == []


def test_a_push_that_fails_is_said_and_stops_no_round(
    backed_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(backed_up, "dusk/ingest")
    forget(backed_up, "dusk/r0")
    asked: list[str] = []
    look = push_step._require_mounted
    monkeypatch.setattr(
        push_step, "_require_mounted", lambda loop, url: (asked.append(url), look(loop, url))
    )
    (backed_up / "store").rename(backed_up / "unplugged")
    loop = open_loop(backed_up / "workspace", backed_up / "tool.json")
    said: list[str] = []
    loop.log = said.append
    assert tick(loop) == "waiting 0/3: 3 open (dusk/r0)"
    assert any(line.startswith("NOT PUSHED, 2 tag(s)") and "disk" in line for line in said)
    assert len(asked) == 1  # not once per tag: what does not answer would take its time each time
    assert not (backed_up / "store").exists()  # DVC would make a new one on the wrong disk
    now = status(loop)
    assert now.not_pushed == ("dusk/ingest", "dusk/r0")
    assert "is its disk mounted?" in now.push_failure
    assert "NOT PUSHED, on this machine alone: dusk/ingest, dusk/r0" in describe(now, [])
    page = backed_up / "workspace" / layout.REPORT
    assert "NOT PUSHED: dusk/ingest, dusk/r0 would be lost with this machine" in page.read_text()
    (backed_up / "unplugged").rename(backed_up / "store")
    tick(loop)
    assert status(loop).not_pushed == ()
    assert "NOT PUSHED" not in page.read_text()
    assert lacking(backed_up) == []
    loop.ledger.close()


def test_a_file_that_the_cache_lost_is_not_called_pushed(backed_up: Path) -> None:
    forget(backed_up, "dusk/r0")
    loop = open_loop(backed_up / "workspace", backed_up / "tool.json")
    outs = [o for o in outs_at(loop.workspace.git, "dusk/r0") if o.path == "models/baseline"]
    Cache(backed_up / "workspace/.dvc/cache").object(outs[0].md5).unlink()
    with pytest.raises(WorkspaceError, match=r"dusk/r0: 1 file.*neither.*models/baseline"):
        push(loop, unpushed(loop))
    assert unpushed(loop) == ["dusk/r0"]
    loop.ledger.close()


def documented() -> list[str]:
    """The commands of docs/versions.md that bring a lost working copy back."""
    block = PAGE.read_text().split("## A working copy that is lost")[1]
    text = re.search(r"```\n(.*?)```", block, re.DOTALL)
    assert text
    return [line.split("#")[0].strip() for line in text[1].splitlines() if line.strip()]


def test_a_lost_working_copy_comes_back_by_the_three_documented_commands(backed_up: Path) -> None:
    root = backed_up / "workspace"
    before = hashes(root, "data", "models", "predictions/embeddings", "metrics")
    tags = Workspace(root).tags_merged()
    shutil.rmtree(root)
    commands = documented()
    assert len(commands) == 3
    environment = child_environment(PYTHONPATH=str(PAGE.parents[1]), HOME=str(backed_up))
    for command in commands:
        command = command.replace("GIT_URL", shlex.quote(str(backed_up / "history.git")))
        command = command.replace("my-scene", "workspace")
        where = root if root.exists() else backed_up
        if command.startswith("ssl-loop"):
            command = f"{sys.executable} -m flows.cli {command.removeprefix('ssl-loop')}"
        subprocess.run(command, shell=True, check=True, cwd=where, env=environment)
    assert hashes(root, "data", "models", "predictions/embeddings", "metrics") == before
    assert Workspace(root).tags_merged() == tags
    # And it goes on: pre-annotations, which no remote keeps, are made again where they are asked.
    os.environ.pop("SSL_LOOP_LEDGER_URL", None)
    assert run_tick(root, backed_up / "tool.json") == "waiting 0/3: 3 open (dusk/r0)"
    people = FakeAnnotator(backed_up / "tool.json", CLASSES)
    assert len(people.all_tasks()) == 6  # none twice
    assert (root / layout.PSEUDO_LABELS / "dusk").is_dir()
    loop = open_loop(root, backed_up / "tool.json")
    assert unpushed(loop) == []
    loop.ledger.close()


def test_a_tag_older_than_the_remote_is_restored_from_its_address(
    pushed: Path, campaign: Campaign, tmp_path: Path
) -> None:
    found = restore(str(pushed / "history.git"), "day/r1", tmp_path / "new", lambda line: None)
    left_out = tuple(f"{path}/" for path in found.proof.to_be_made)
    expected = {path: h for path, h in campaign.day_r1.items() if not path.startswith(left_out)}
    assert hashes(tmp_path / "new", "data", "models", "predictions") == expected
    assert len(left_out) == 3  # what dvc.yaml marks `push: false`
    assert found.annotations == 3


def test_what_no_remote_has_is_refused_by_name(backed_up: Path, tmp_path: Path) -> None:
    forget(backed_up, "dusk/r0")
    subprocess.run(
        ["git", "push", "-q", remotes.NAME, "--tags"], cwd=backed_up / "workspace", check=True
    )
    with pytest.raises(WorkspaceError, match=r"neither cache nor remote: models/baseline"):
        restore(str(backed_up / "history.git"), "dusk/r0", tmp_path / "new", lambda line: None)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket/scene", "dvc[s3]"),
        ("gs://bucket/scene", "dvc[gs]"),
        ("ssh://host/scene", "dvc[ssh]"),
        ("ftp://host/scene", "s3://"),
        ("s3://KEY:SECRET@bucket/scene", "carries a secret"),
        ("azure://container/x?sig=abc", "carries a secret"),
        ("inside", "lost with it"),
    ],
)
def test_an_address_that_cannot_be_used_says_what_to_do(toy: Path, url: str, said: str) -> None:
    before = (toy / remotes.CONFIG).read_text()
    place = str(toy / "inside") if url == "inside" else url
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        remotes.add(Workspace(toy), place, None)
    assert "SECRET" not in str(caught.value)
    assert (toy / remotes.CONFIG).read_text() == before


def test_a_key_in_the_versioned_file_is_not_committed(toy: Path, tmp_path: Path) -> None:
    workspace = Workspace(toy)
    workspace.dvc("remote", "add", "other", "s3://bucket/x")
    workspace.dvc("remote", "modify", "other", "secret_access_key", "s3cr3t")
    with pytest.raises(WorkspaceError, match="dvc remote modify --local"):
        remotes.add(workspace, str(tmp_path / "store"), None)
    assert "s3cr3t" not in workspace.show("HEAD", remotes.CONFIG).decode()


def test_a_repository_with_another_history_is_refused(
    toy: Path, tmp_path: Path, open_toy: Callable[[Path], Loop]
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", "-b", "main", other], check=True)
    commit = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty"]
    subprocess.run([*commit, "-m", "x"], cwd=other, check=True)
    with pytest.raises(WorkspaceError, match="another history"):
        remotes.add(Workspace(toy), None, str(other))
    assert not remotes.remote(Workspace(toy))


def test_set_up_and_removed_again(
    toy: Path, tmp_path: Path, open_toy: Callable[[Path], Loop]
) -> None:
    workspace = Workspace(toy)
    assert remotes.add(workspace, str(tmp_path / "store"), None).git is None
    assert "HISTORY ON THIS MACHINE ALONE" in describe(status(open_toy(toy)), [])
    found = remotes.add(workspace, str(tmp_path / "store"), str(tmp_path / "history.git"))
    assert (found.data, found.git) == (str(tmp_path / "store"), str(tmp_path / "history.git"))
    assert workspace.git.run("status", "--porcelain") == b""
    assert not status(open_toy(toy)).half_remote
    remotes.remove(workspace)
    assert not remotes.remote(workspace)
    with pytest.raises(WorkspaceError, match="no remote"):
        remotes.remove(workspace)


@pytest.mark.programs
def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="was ended after 1 s"):
        run(["sh", "-c", "sleep 4321 & wait"], cwd=tmp_path, limit_s=1)
    names = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert ["sleep", "4321"] not in names


def test_passwords_are_not_repeated() -> None:
    said = remotes.redacted("fatal: https://me:s3cr3t@host/x and https://ghp_0123456789abcdefgh@h/")
    assert "s3cr3t" not in said
    assert "ghp_" not in said
    assert remotes.redacted("ssh://git@host/x") == "ssh://git@host/x"
