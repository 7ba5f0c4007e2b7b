"""Opening, committing, crashing, and taking turns."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

import db.session
from db import repository
from db.ledger_errors import LedgerError
from db.session import Ledger, open_ledger, session_scope
from db.tables import Base, Domain

ROOT = Path(__file__).parents[2]
OPEN = "import sys; from db.session import open_ledger; "


def names(ledger: Ledger) -> list[str]:
    with session_scope(ledger, read_only=True) as session:
        return repository.domains(session)


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_path_is_a_new_sqlite_ledger_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a 100% new" / "ledger.db"
    ledger = open_ledger(path)
    assert ledger.engine.dialect.name == "sqlite"
    assert path.exists()
    assert names(ledger) == []
    ledger.close()


@pytest.mark.programs
def test_an_existing_ledger_opens_without_alembic(ledger_target: str) -> None:
    code = OPEN + "open_ledger(sys.argv[1]); print('alembic' in sys.modules)"
    output, _ = python(code, ledger_target).communicate(timeout=60)
    assert output.strip() == "False"


@pytest.mark.parametrize("statement", ["foreign_keys", "journal_mode", "busy_timeout"])
def test_sqlite_is_set_up_for_facts(tmp_path: Path, statement: str) -> None:
    expected = {"foreign_keys": 1, "journal_mode": "wal", "busy_timeout": 30_000}
    ledger = open_ledger(tmp_path / "ledger.db")
    with session_scope(ledger, read_only=True) as session:
        assert session.scalar(text(f"PRAGMA {statement}")) == expected[statement]
    ledger.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("sample_id,domain\n" * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db.*not a database.*ledger rebuild"):
        open_ledger(path)


def test_a_newer_schema_is_refused(empty_target: str) -> None:
    ledger = open_ledger(empty_target)
    with ledger.engine.connect().execution_options(ledger_migration=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    ledger.close()
    with pytest.raises(LedgerError, match=r"schema .9999.*use the version"):
        open_ledger(empty_target)


@pytest.mark.parametrize("url", ["mysql://u@h/d", "://", "postgresql+asyncpg://u@h/d"])
def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(LedgerError, match="URL"):
        open_ledger(url)


def test_an_unreachable_server_is_named_and_its_password_is_not() -> None:
    with pytest.raises(LedgerError, match="cannot be opened") as caught:
        open_ledger("postgresql://me:s3cret@127.0.0.1:1/ledger")
    assert "127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.programs
def test_several_processes_may_make_the_same_ledger_at_once(empty_target: str) -> None:
    code = OPEN + "open_ledger(sys.argv[1]).close(); print('open')"
    opening = [python(code, empty_target) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in opening] == ["open"] * 3


@pytest.fixture
def new_file_being_written(tmp_path: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A new SQLite file in which another process has begun to write, as a second `init` would."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE other (number INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        yield path, other


def test_a_new_ledger_waits_for_who_writes_in_its_file(
    new_file_being_written: tuple[Path, sqlite3.Connection],
) -> None:
    path, other = new_file_being_written
    threading.Timer(0.3, other.execute, ["COMMIT"]).start()
    ledger = open_ledger(path)
    assert names(ledger) == []
    ledger.close()


def test_waiting_for_a_new_ledger_ends_in_words(
    new_file_being_written: tuple[Path, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.session, "LOCK_WAIT_S", 0.2)
    with pytest.raises(LedgerError, match="no turn to write"):
        open_ledger(new_file_being_written[0])


def test_an_exception_leaves_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        with session_scope(ledger) as session:
            repository.add_domain(session, name="day")
            assert repository.domains(session) == ["day"]
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert names(ledger) == []


def test_nothing_is_seen_before_the_end_and_all_after(ledger: Ledger) -> None:
    with session_scope(ledger) as session:
        repository.add_domain(session, name="day")
        assert names(ledger) == []  # and the reader does not wait for the writer
    assert names(ledger) == ["day"]


@pytest.mark.programs
def test_kill_between_flush_and_commit_leaves_nothing(ledger: Ledger, ledger_target: str) -> None:
    code = """
import sys, time
from db import repository
from db.session import open_ledger, session_scope
with session_scope(open_ledger(sys.argv[1])) as session:
    repository.add_domain(session, name="day")
    print("flushed", flush=True)
    time.sleep(60)
"""
    process = python(code, ledger_target)
    assert process.stdout is not None
    assert process.stdout.readline() == "flushed\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert names(ledger) == []
    with session_scope(ledger) as session:  # nor does its lock stay
        repository.add_domain(session, name="dusk")
    assert names(ledger) == ["dusk"]


def test_writers_take_turns(ledger: Ledger) -> None:
    # Each reads how many there are and writes the next number, which is unique: two at a time
    # would collide.
    def add(name: str) -> None:
        with session_scope(ledger) as session:
            repository.add_domain(session, name=name)

    expected = {f"d{number}" for number in range(40)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, expected))
    assert set(names(ledger)) == expected


def test_waiting_for_a_turn_ends_in_words(
    ledger_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.session, "LOCK_WAIT_S", 0.2)
    ledger = open_ledger(ledger_target)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with session_scope(ledger) as session:
            repository.domains(session)
            held.set()
            done.wait(20)

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        try:
            assert held.wait(20)
            with (
                pytest.raises(LedgerError, match="no turn to write"),
                session_scope(ledger) as session,
            ):
                repository.domains(session)
        finally:
            done.set()
        holding.result()
    ledger.close()


def test_a_reading_scope_refuses_to_write(ledger: Ledger) -> None:
    with (
        pytest.raises(LedgerError, match="read-only"),
        session_scope(ledger, read_only=True) as session,
    ):
        repository.add_domain(session, name="day")


@pytest.fixture
def session_with_day(ledger: Ledger) -> Session:
    with session_scope(ledger) as session:
        repository.add_domain(session, name="day")
        yield session
        session.rollback()
    assert names(ledger) == []


def _change(session: Session) -> None:
    session.get_one(Domain, "day").arrival = 7
    session.flush()


def _delete(session: Session) -> None:
    session.delete(session.get_one(Domain, "day"))
    session.flush()


@pytest.mark.parametrize("act", [_change, _delete])
def test_a_flush_of_a_change_is_refused(session_with_day: Session, act: object) -> None:
    with pytest.raises(LedgerError, match="never changed or deleted"):
        act(session_with_day)


@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=lambda table: table.name)
@pytest.mark.parametrize("verb", [update, delete])
def test_statements_that_change_a_table_are_refused(
    session_with_day: Session, table: object, verb: object
) -> None:
    statement = verb(table)
    if verb is update:
        statement = statement.values({table.columns[0]: table.columns[0]})
    with pytest.raises(LedgerError, match="never changed or deleted"):
        session_with_day.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE domain SET arrival = 7",
        "\n  delete FROM domain",
        "DROP TABLE domain",
        "REPLACE INTO domain VALUES ('day', 7)",
        "INSERT OR REPLACE INTO domain VALUES ('day', 7)",
    ],
)
def test_text_that_changes_is_refused(session_with_day: Session, statement: str) -> None:
    with pytest.raises(LedgerError, match="never changed or deleted"):
        session_with_day.execute(text(statement))


def test_an_insert_that_would_update_is_refused(session_with_day: Session, backend: str) -> None:
    insert = (postgresql if backend == "postgresql" else sqlite).insert
    statement = insert(Domain).values(name="day", arrival=7)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"arrival": 7})
    with pytest.raises(LedgerError, match="never changed or deleted"):
        session_with_day.execute(statement)


@pytest.mark.parametrize(
    ("pragma", "words"),
    [
        ("query_only = ON", "cannot be written: attempt to write a readonly database; make the"),
        ("max_page_count = 1", r"disk is full \(\d+ bytes free there\); make space and try again"),
    ],
)
def test_a_ledger_that_cannot_be_written_is_one_line(
    tmp_path: Path, pragma: str, words: str
) -> None:
    """As SQLite says it on a read-only and on a full disk."""
    ledger = open_ledger(tmp_path / "ledger.db")

    def fill() -> None:
        with session_scope(ledger) as session:
            session.execute(text(f"PRAGMA {pragma}"))
            rows = [Domain(name=f"{'x' * 500}{n}", arrival=n) for n in range(500)]
            session.add_all(rows)

    with pytest.raises(LedgerError, match=words) as caught:
        fill()
    assert "\n" not in str(caught.value)
    ledger.close()
    again = open_ledger(tmp_path / "ledger.db")
    with session_scope(again, read_only=True) as session:
        assert repository.domains(session) == []
    again.close()


def test_a_damaged_ledger_names_the_way_to_make_it_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("no database, by far: " * 100)
    with pytest.raises(LedgerError, match="`ssl-loop ledger rebuild` makes it again"):
        open_ledger(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot be opened: .*; see that its folder is there"):
        open_ledger(tmp_path / "file/ledger.db")
