"""A tagged state comes back byte for byte in a new workspace, or nothing is left behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db import repository
from db.session import session_scope
from flows.loop import Loop
from flows.tick import tick
from flows.versions import restore as restore_module
from flows.versions.restore import restore
from flows.versions.restored_hashes import prove
from flows.views.status import status
from flows.workspace.dvc.dvc_cache import Cache, cache_of, outs_at
from flows.workspace.remote import remote
from flows.workspace.workspace import Workspace
from pipeline.errors import WorkspaceError
from tests.flows.conftest import Campaign, hashes, truth
from tests.support.fake_annotator import FakeAnnotator

ROOT = Path(__file__).parents[3]
DIES = """
import os, signal, sys
from pathlib import Path
from flows.versions import restore
restore.prove = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
restore.restore(sys.argv[1], "day/r0", Path(sys.argv[2]), print)
"""


def silent(line: str) -> None:
    """Where nobody listens."""


def test_an_old_state_comes_back_byte_for_byte_after_the_shift(
    shifted: Path, campaign: Campaign, tmp_path: Path, open_toy: Callable[[Path], Loop]
) -> None:
    before = hashes(shifted, "data", "models", "predictions")
    into = tmp_path / "old"
    found = restore(str(shifted), "day/r1", into, silent)
    assert hashes(into, "data", "models", "predictions") == campaign.day_r1
    assert {f"models/{kind}/model.safetensors" for kind in ("baseline", "teacher")} == set(
        found.proof.models
    )
    assert found.proof.models.items() <= campaign.day_r1.items()
    assert (found.proof.images, found.proof.masks, found.annotations) == (9, 5, 3)
    assert found.proof.to_be_made == ()
    assert hashes(shifted, "data", "models", "predictions") == before
    loop = open_toy(into)
    now = status(loop)
    assert (now.domain, now.round_index, now.computed, now.labelled) == ("day", 1, True, 4)
    assert loop.workspace.git.run("status", "--porcelain") == b""
    assert loop.workspace.tags_merged() == ["day/ingest", "day/r0", "day/r0-labels", "day/r1"]
    assert not remote(loop.workspace)
    # And the proof sees what it is there to see.
    (into / "data/day/masks/extra.png").touch()
    (into / "params.yaml").write_text("classes: [a, b]\n")
    outs, cache = outs_at(loop.workspace.git, "HEAD"), cache_of(loop.workspace)
    with pytest.raises(WorkspaceError, match=r"(?s)2 file.*params\.yaml: not git.*extra.*too many"):
        prove(into, "day/r1", outs, cache)


def test_the_loop_goes_on_from_there_with_rounds_of_its_own(
    shifted: Path, tmp_path: Path, open_toy: Callable[[Path], Loop], people: FakeAnnotator
) -> None:
    original = Workspace(shifted).revision("day/r0-labels")
    restore(str(shifted), "day/r0", tmp_path / "fork", silent)
    loop = open_toy(tmp_path / "fork")
    assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(90 + seed))
    assert tick(loop).startswith("finished day")
    assert loop.workspace.revision("day/r0-labels") != original
    assert Workspace(shifted).revision("day/r0-labels") == original


def test_what_is_not_free_or_unknown_is_refused_by_name(shifted: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/holiday.jpg").touch()
    with pytest.raises(WorkspaceError, match="not empty"):
        restore(str(shifted), "day/r1", tmp_path / "full", silent)
    with pytest.raises(WorkspaceError, match=r"day/r7: no such tag; near it: .*day/r1"):
        restore(str(shifted), "day/r7", tmp_path / "new", silent)
    with pytest.raises(WorkspaceError, match="would track it"):
        restore(str(shifted), "day/r1", shifted / "data/inside", silent)
    assert not (tmp_path / "new").exists()


def test_data_in_neither_cache_nor_remote_are_named(shifted: Path, tmp_path: Path) -> None:
    workspace = Workspace(shifted)
    cache = cache_of(workspace)
    cache.object(object_of(workspace, cache, "data/day/images/img003.png")).unlink()
    with pytest.raises(WorkspaceError, match=r"1 file.*neither.*data/day/images/img003\.png"):
        restore(str(shifted), "day/r1", tmp_path / "new", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["campaign"]


def object_of(workspace: Workspace, cache: Cache, path: str) -> str:
    """DVC's hash of a file at day/r1."""
    outs = outs_at(workspace.git, "day/r1")
    return next(files[path] for out in outs if path in (files := cache.files(out) or {}))


def test_a_spoilt_cache_is_found_out_though_dvc_calls_it_up_to_date(
    shifted: Path, tmp_path: Path
) -> None:
    workspace = Workspace(shifted)
    cache = cache_of(workspace)
    spoilt = cache.object(object_of(workspace, cache, "models/teacher/model.safetensors"))
    spoilt.chmod(0o644)
    spoilt.write_text("other weights")
    with pytest.raises(
        WorkspaceError, match=r"(?s)1 file.*models/teacher/model\.safetensors: not DVC"
    ):
        restore(str(shifted), "day/r1", tmp_path / "new", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["campaign"]


def test_interrupted_it_leaves_nothing(
    shifted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(restore_module, "prove", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        restore(str(shifted), "day/r0", tmp_path / "new", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["campaign"]


def test_killed_it_can_be_done_again(shifted: Path, tmp_path: Path) -> None:
    into = tmp_path / "new"
    died = subprocess.run([sys.executable, "-c", DIES, shifted, into], cwd=ROOT)
    assert died.returncode == -signal.SIGKILL
    assert not into.exists()
    assert list(tmp_path.glob(".new.*.restoring"))
    into.mkdir()  # an empty folder will do
    restore(str(shifted), "day/ingest", into, silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign", "new"]


def test_a_restored_workspace_keeps_its_facts_in_its_own_ledger(
    shifted: Path, tmp_path: Path, open_toy: Callable[[Path], Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_LOOP_LEDGER_URL", f"sqlite:///{tmp_path}/shared.db")
    restore(str(shifted), "dusk/r0", tmp_path / "new", silent)
    assert not (tmp_path / "shared.db").exists()
    facts = []
    for root in (shifted, tmp_path / "new"):
        with session_scope(open_toy(root).ledger, read_only=True) as session:
            facts.append(repository.facts(session))
    for table in ("sample", "round", "query_item", "annotation", "checkpoint", "measurement"):
        assert facts[0][table] == facts[1][table], table
    shutil.rmtree(tmp_path / "new")
