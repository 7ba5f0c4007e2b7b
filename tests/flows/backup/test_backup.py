"""A backup taken while the loop writes comes back sound; a damaged one is refused."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from db.ledger_errors import LedgerError
from db.repository import facts, record_event
from db.session import open_ledger, session_scope
from flows import cli
from flows.backup import write_backup
from flows.backup.restore_backup import restore_backup
from flows.backup.write_backup import backup
from flows.loop import Loop
from flows.services.stack import LEDGER_VARIABLE
from flows.tick import tick
from flows.verify import verify
from flows.workspace.credentials import SECRETS, credentials
from flows.workspace.dvc.dvc_cache import cache_of, outs_at
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError, WorkspaceError
from tests.flows.conftest import hashes, truth
from tests.flows.verify.test_verify import Place
from tests.support.ledgers import postgres_cluster

Opener = Callable[[Place], Any]


def silent(line: str) -> None:
    """Where nobody listens."""


@pytest.fixture
def place(shifted: Path) -> Place:
    return Place(shifted)


def taken(place: Place, file: Path, **options: Any) -> Any:
    loop = place.loop()
    try:
        return backup(loop, file, **options)
    finally:
        loop.ledger.close()


def findings(root: Path, tool: Path) -> tuple[Any, ...]:
    moved = Place(root)
    if not (root.parent / "tool.json").exists():
        shutil.copyfile(tool, root.parent / "tool.json")
    loop = moved.loop()
    try:
        return verify(loop).findings
    finally:
        loop.ledger.close()


def test_a_backup_taken_while_a_tick_writes_comes_back_sound_and_goes_on(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the ledger is copied a whole tick collects, merges, trains and tags."""
    file, into = tmp_path / "scene.tar.gz", tmp_path / "elsewhere/scene"
    original, said = write_backup.copy_ledger, []

    def copy_then_tick(*arguments: Any) -> None:
        original(*arguments)
        for seed, item_id in enumerate(place.people.open_items()):
            place.people.answer(item_id, truth(40 + seed))
        loop = place.loop()
        said.append(tick(loop))
        loop.ledger.close()

    monkeypatch.setattr(write_backup, "copy_ledger", copy_then_tick)
    made = taken(place, file)
    assert said[0].startswith(("finished dusk", "waiting"))
    assert (made.missing, made.secrets) == ({}, False)
    assert file.stat().st_mode & 0o077 == 0
    found = restore_backup(file, into, silent)
    assert found.head == Workspace(place.root).head() == made.head
    assert hashes(into, "data", "models") == hashes(place.root, "data", "models")
    assert not (into / SECRETS).exists()
    assert findings(into, place.root.parent / "tool.json") == ()
    loop = Place(into).loop()
    assert tick(loop) == said[0]
    loop.ledger.close()


def test_what_waits_and_what_people_edited_comes_along_secrets_only_when_asked(
    place: Place, tmp_path: Path
) -> None:
    secret = credentials(place.root).webhook_secret
    params = place.root / layout.PARAMS
    params.write_text(params.read_text().replace("query_size: 3", "query_size: 2"))
    waiting = place.root / layout.INCOMING / "night"
    waiting.mkdir(parents=True)
    (waiting / "samples.csv").write_text("later\n")
    taken(place, tmp_path / "plain.tar.gz")
    taken(place, tmp_path / "secret.tar.gz", with_secrets=True)
    plain, full = tmp_path / "plain", tmp_path / "full"
    assert not restore_backup(tmp_path / "plain.tar.gz", plain, silent).secrets
    assert restore_backup(tmp_path / "secret.tar.gz", full, silent).secrets
    assert credentials(full).webhook_secret == secret
    for root in (plain, full):
        assert "query_size: 2" in (root / layout.PARAMS).read_text()
        assert (root / layout.INCOMING / "night/samples.csv").exists()
    with tarfile.open(tmp_path / "plain.tar.gz") as tar:
        assert not [name for name in tar.getnames() if "secrets" in name]


def changed(file: Path, change: Callable[[tarfile.TarInfo, bytes], Any]) -> Path:
    """The archive with each member as `change` gives it: (info, bytes), or None to leave it out."""
    with tarfile.open(file) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    target = file.with_name("changed.tar.gz")
    with tarfile.open(target, "w:gz") as tar:
        for info, content in members:
            for one, data in change(info, content) or ():
                one.size = len(data)
                tar.addfile(one, io.BytesIO(data))
    return target


def named(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture(scope="module")
def whole(campaign: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backup")
    place = Place(campaign.copy(folder / "campaign"))
    taken(place, folder / "whole.tar.gz")
    return folder / "whole.tar.gz"


FAULTS: dict[str, tuple[Any, str]] = {
    "a bit flipped": (
        lambda info, data: [(info, data[:-1] + b"!" if info.name == "git.bundle" else data)],
        "not what was written: git.bundle",
    ),
    "a file left out": (
        lambda info, data: [(info, data)] if info.name != "ledger.db" else None,
        "missing.*ledger.db",
    ),
    "a file too many": (
        lambda info, data: (
            [(named("private/inbox/new.json"), b"{}"), (info, data)]
            if info.name == "ledger.db"
            else [(info, data)]
        ),
        "too many.*new.json",
    ),
    "up and out": (
        lambda info, data: [(named("private/../../evil"), b""), (info, data)],
        "leads out",
    ),
    "absolute": (lambda info, data: [(named("/tmp/evil"), b""), (info, data)], "leads out"),
    "a place of its own": (
        lambda info, data: [(named("hooks/post-checkout"), b""), (info, data)],
        "leads out",
    ),
    "a link": (
        lambda info, data: [
            (named("private/link", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (info, data),
        ],
        "no plain file",
    ),
    "a hard link": (
        lambda info, data: [
            (named("private/link", tarfile.LNKTYPE, "ledger.db"), b""),
            (info, data),
        ],
        "no plain file",
    ),
    "a folder that is a link": (
        lambda info, data: [
            (named("cache", tarfile.SYMTYPE, "/tmp"), b""),
            (info, data),
        ],
        "no plain file",
    ),
    "a name of another system": (
        lambda info, data: [(named("private\\..\\evil"), b""), (info, data)],
        "leads out",
    ),
    "a FIFO": (
        lambda info, data: [(named("private/fifo", tarfile.FIFOTYPE), b""), (info, data)],
        "no plain file",
    ),
    "a newer format": (
        lambda info, data: [
            (info, json.dumps({"format": 99, "files": {}}).encode())
            if info.name == "manifest.json"
            else (info, data)
        ],
        "format 99",
    ),
    "no manifest": (
        lambda info, data: [(info, data)] if info.name != "manifest.json" else None,
        "has no manifest",
    ),
    "a file twice": (lambda info, data: [(info, data), (info, data)], "twice"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_archive_that_was_changed_is_refused_and_leaves_nothing(
    whole: Path, tmp_path: Path, fault: str
) -> None:
    change, message = FAULTS[fault]
    file = changed(whole, change)
    with pytest.raises(DataError, match=message):
        restore_backup(file, tmp_path / "new", silent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_an_archive_cut_short_is_refused(whole: Path, tmp_path: Path, share: float) -> None:
    file = tmp_path / "cut.tar.gz"
    file.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(DataError, match=r"damaged or no backup|no manifest"):
        restore_backup(file, tmp_path / "new", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.tar.gz"]


def test_a_backup_that_fails_leaves_the_older_one(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "scene.tar.gz"
    file.write_text("the older one")
    workspace = Workspace(place.root)
    cache = cache_of(workspace)
    model = next(out for out in outs_at(workspace.git, "HEAD") if out.path == "models/teacher")
    next(iter(cache.object(md5) for md5 in (cache.files(model) or {}).values())).unlink()
    with pytest.raises(WorkspaceError, match=r"cache lacks \d file.*models/teacher"):
        taken(place, file)
    assert file.read_text() == "the older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign", "scene.tar.gz"]


def test_the_commands(whole: Path, place: Place, tmp_path: Path) -> None:
    runner = CliRunner()
    file = str(tmp_path / "b.tar.gz")
    made = runner.invoke(cli.main, ["backup", file, "--json", "-w", str(place.root)])
    assert made.exit_code == 0, made.output
    back = runner.invoke(cli.main, ["restore-backup", file, "--into", str(tmp_path / "back")])
    assert back.exit_code == 0, back.output
    assert "7 tags, 3 annotations" in back.output
    again = runner.invoke(cli.main, ["restore-backup", file, "--into", str(tmp_path / "back")])
    assert again.exit_code == 1
    assert "not empty" in again.output


@pytest.mark.postgres
def test_a_ledger_goes_to_postgresql_and_comes_back_from_it(
    whole: Path, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_cluster().database()
    loop = place.loop()
    with session_scope(loop.ledger, read_only=True) as session:
        expected = facts(session)
    loop.ledger.close()
    monkeypatch.setenv(LEDGER_VARIABLE, url)
    restore_backup(whole, tmp_path / "there", silent)
    assert not (tmp_path / "there" / layout.LEDGER).exists()
    for target in (url, postgres_cluster().database()):
        monkeypatch.setenv(LEDGER_VARIABLE, target)
        if target != url:
            restore_backup(tmp_path / "again.tar.gz", tmp_path / "back", silent)
        ledger = open_ledger(target)
        with session_scope(ledger, read_only=True) as session:
            assert without_restores(facts(session)) == without_restores(expected)
        with session_scope(ledger) as session:  # new rows have new numbers
            record_event(session, kind="seen", who="me", subject="x", key="seen", detail={})
        there = Loop(workspace=Workspace(tmp_path / "there"), ledger=ledger, log=silent)
        if target == url:
            backup(there, tmp_path / "again.tar.gz")
        ledger.close()
    with pytest.raises(LedgerError, match=r"has rows already, in .*; name an empty database"):
        restore_backup(whole, tmp_path / "mixed", silent)
    assert not (tmp_path / "mixed").exists()


def without_restores(found: dict[str, Any]) -> dict[str, Any]:
    """All but the events, of which a restore adds one."""
    return {name: rows for name, rows in found.items() if name != "event"}
