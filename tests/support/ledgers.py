"""Ledgers to test on: SQLite files, and databases of a throw-away PostgreSQL cluster.

The cluster belongs to the test session: own folder, unix socket only, removed at exit.
"""

from __future__ import annotations

import atexit
import functools
import getpass
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.session import Ledger, open_ledger
from db.tables import Base

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
_numbers = itertools.count()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def empty_target(backend: str, tmp_path: Path) -> str:
    """Path or URL of a database without any table."""
    return new_target(backend, tmp_path)


@pytest.fixture
def ledger_target(backend: str, tmp_path: Path) -> str:
    """Path or URL of a ledger at the newest schema, without any row."""
    if backend == "postgresql":
        return _emptied(_postgres_ledger())
    path = tmp_path / "ledger.db"
    shutil.copyfile(_sqlite_template(), path)
    return str(path)


@pytest.fixture
def ledger(ledger_target: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_target)
    yield opened
    opened.close()


def new_target(backend: str, folder: Path) -> str:
    if backend == "postgresql":
        return postgres_cluster().database()
    return str(folder / f"empty-{next(_numbers)}.db")


class PostgresCluster:
    """A running server; `database` makes a new one and returns its URL."""

    def __init__(self, programs: Path, folder: Path, as_user: list[str]) -> None:
        self.programs, self.folder, self.as_user = programs, folder, as_user

    def start(self) -> None:
        self._run("initdb", "-D", "data", "-U", "ledger", "-A", "trust", "-E", "UTF8", "--no-sync")
        # Nothing here outlives the tests, so nothing has to reach the disk.
        options = f"-c listen_addresses= -c fsync=off -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        name = f"ledger_{next(_numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql:///{name}?host={self.folder}&user=ledger"

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        done = subprocess.run(
            [*self.as_user, str(self.programs / program), *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {done.stderr!r} {log.exists() and log.read_text()}")


@functools.cache
def postgres_cluster() -> PostgresCluster:
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are missing: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="ssl-loop-postgres-"))
    as_user: list[str] = []
    if getpass.getuser() == "root" or os.geteuid() == 0:  # the server refuses to run as root
        user = next(name for name in ("postgres", "nobody") if _exists(name))
        shutil.chown(folder, user)
        as_user = ["runuser", "-u", user, "--"]
    cluster = PostgresCluster(programs, folder, as_user)
    atexit.register(cluster.stop)
    cluster.start()
    return cluster


def _postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    # Debian keeps them off PATH, one folder per version.
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4])
    )
    return versions[-1].parent if versions else None


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@functools.cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ssl-loop-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_ledger(folder / "ledger.db").close()
    return folder / "ledger.db"


@functools.cache
def _postgres_ledger() -> str:
    url = postgres_cluster().database()
    open_ledger(url).close()
    return url


def _emptied(url: str) -> str:
    """The same database without rows: far quicker than a new one per test."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY")
    return url
