"""What a tick refuses to go on over: each named with what to do, before anything is computed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flows.cli import main
from flows.domains.add import add_domain
from flows.guards.refusals import refusals
from flows.loop import Loop
from flows.steps.take_in import take_in
from flows.tick import tick
from flows.versions.rebuild_ledger import rebuild
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError, WorkspaceError
from tests.flows.conftest import Campaign, stage_domain

Open = Callable[[Path], Loop]
STANDS = "waiting 0/3: 3 open (dusk/r0)"


@pytest.fixture
def loop(campaign: Campaign, tmp_path: Path, open_toy: Open) -> Loop:
    """day is finished, dusk/r0 waits for people."""
    return open_toy(campaign.copy(tmp_path))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for stem in ("a", "b"):
        path = tmp_path / "photos" / f"{stem}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def clone(source: Path, target: Path, *options: str) -> Path:
    subprocess.run(
        ["git", "clone", "-q", *options, f"file://{source}", target], check=True, timeout=60
    )
    (target / ".ssl-loop").mkdir()
    return target


@pytest.mark.parametrize(
    ("options", "remedy"),
    [(("--no-tags",), "git fetch --tags origin"),
     (("--depth", "1"), "git fetch --unshallow --tags origin"),
     (("--depth", "1", "--no-tags"), "git fetch --unshallow --tags origin")],
)  # fmt: skip
def test_a_clone_without_its_history_is_no_workspace_without_domains(
    shifted: Path,
    tmp_path: Path,
    open_toy: Open,
    photos: Path,
    options: tuple[str, ...],
    remedy: str,
) -> None:
    root = clone(shifted, tmp_path / "clone", *options)
    lost = open_toy(root)
    with pytest.raises(WorkspaceError, match=remedy):
        tick(lost)
    with pytest.raises(WorkspaceError, match=remedy):
        lost.require_position()
    said = CliRunner().invoke(main, ["remote", "list", "--workspace", str(root)])
    assert said.exit_code == 1
    assert "every tag is there" not in said.output
    assert remedy in said.output
    add_domain(root, "night", images=photos)
    with pytest.raises(WorkspaceError, match=remedy):
        tick(lost)
    lost.workspace.git.run(*remedy.split()[1:])
    if "--unshallow" not in remedy or b"/r0" in lost.workspace.git.run("tag"):
        rebuild(lost)
        assert "history" not in dict(refusals(lost))


@pytest.mark.parametrize("tag", ["day/ingest", "day/r0", "day/r0-labels", "dusk/ingest"])
def test_a_tag_that_was_deleted_is_named_with_its_commit(loop: Loop, tag: str) -> None:
    commit = loop.workspace.revision(tag)
    loop.workspace.git.run("tag", "-d", tag)
    with pytest.raises(WorkspaceError, match=rf"git tag -a {tag} -m 'made again' {commit[:12]}"):
        tick(loop)
    loop.workspace.git.run("tag", "-a", tag, "-m", "made again", commit)
    assert tick(loop) == STANDS


def test_a_branch_that_was_moved_back_is_refused_before_a_round_is_done_twice(loop: Loop) -> None:
    newest = loop.workspace.revision("dusk/r0")
    loop.workspace.git.run("reset", "-q", "--hard", "day/r0")
    with pytest.raises(
        WorkspaceError, match=r"day/r0-labels is there already.*git merge --ff-only"
    ):
        tick(loop)
    loop.workspace.git.run("reset", "-q", "--hard", newest)


def test_a_domain_that_the_branch_has_is_refused_wherever_head_is(loop: Loop, photos: Path) -> None:
    loop.workspace.git.run("checkout", "-q", "day/r0")
    for name in ("dusk", "day"):
        with pytest.raises(DataError, match="already there"):
            add_domain(loop.root, name, images=photos)
    loop.workspace.git.run("checkout", "-q", "-b", "side")
    loop.workspace.git.run("tag", "-d", "dusk/ingest")
    with pytest.raises(DataError, match="already there"):
        add_domain(loop.root, "dusk", images=photos)


def test_staged_copies_of_other_images_are_never_deleted(loop: Loop) -> None:
    stage_domain(loop.root, "dusk", pool=2)
    waits = loop.root / layout.INCOMING / "dusk/images"
    with pytest.raises(WorkspaceError, match=r"2 images wait.*domain add OTHER"):
        take_in(loop, "dusk")
    assert len(list(waits.iterdir())) == 2


def test_a_ledger_that_is_gone_or_another_one_is_named(
    loop: Loop, open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tick(loop) == STANDS
    loop.ledger.close()
    (loop.root / layout.LEDGER).unlink()
    empty = open_toy(loop.root)
    with pytest.raises(WorkspaceError, match=r"lacks domain day, domain dusk.*ledger rebuild"):
        tick(empty)
    (loop.root / ".ssl-loop/ledger-place").write_text("postgresql://***@db/site\n")
    with pytest.raises(WorkspaceError, match="SSL_LOOP_LEDGER_URL"):
        tick(empty)
    rebuild(empty)
    assert dict(refusals(empty)) == {}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("domain: dusk", "domain: day", r"domain is 'day', and the loop wrote 'dusk'"),
     ("domain: dusk", "domain: null", r"domain is None, and the loop wrote 'dusk'"),
     ("  day: {}\n", "", r"domains lacks day"),
     ("  day: {}\n", "  day: {}\n  night: {}\n", r"domains has night")],
)  # fmt: skip
def test_what_the_loop_writes_into_params_is_not_edited(
    loop: Loop, old: str, new: str, said: str
) -> None:
    params = loop.root / layout.PARAMS
    before = params.read_text()
    assert old in before
    params.write_text(before.replace(old, new))
    with pytest.raises(WorkspaceError, match=said):
        tick(loop)
    loop.workspace.commit([layout.PARAMS], "Edited and committed")
    with pytest.raises(WorkspaceError, match=said):
        tick(loop)
    params.write_text(before)
    assert tick(loop) == STANDS


def test_a_domain_of_its_own_budget_may_be_edited(loop: Loop) -> None:
    Workspace(loop.root).write_params({"domains": {"dusk": {"budget": 4}}})
    assert tick(loop) == STANDS
