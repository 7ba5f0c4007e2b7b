"""Opening the ledger and speaking to it: one writer at a time, commit once, facts only added."""

from __future__ import annotations

import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    OperationalError,
)
from sqlalchemy.orm import Session, sessionmaker

from db.ledger_errors import LedgerError

# Alembic takes longer to import than a tick may spend here, so the newest revision is also written
# down: a ledger that is already there opens without it. A test keeps the two equal.
SCHEMA_HEAD = "0003"
MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_WAIT_S = 30  # longer than any tick holds the write lock; then an error beats a hang
_WRITER_LOCK = 0x55_1100  # any number: the name of our advisory lock within its database
_READ_ONLY = "ledger_read_only"  # execution options of a connection
_MIGRATION = "ledger_migration"
_CHANGES = re.compile(
    r"\s*(UPDATE|DELETE|TRUNCATE|DROP|ALTER|REPLACE|INSERT\s+OR|INSERT\b.*\bDO\s+UPDATE)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Ledger:
    """An open ledger at the newest schema; `close` gives its connections back."""

    engine: Engine
    writers: sessionmaker[Session]
    readers: sessionmaker[Session]

    def close(self) -> None:
        """Close all connections; the ledger may be opened again."""
        self.engine.dispose()


def open_ledger(target: str | Path) -> Ledger:
    """The ledger at a path (SQLite) or URL, made or migrated to the newest schema if need be.

    LedgerError when it cannot be reached, is no database, or comes from a newer version.
    """
    url = ledger_url(target)
    engine = new_engine(url)
    try:
        if url.database and url.get_backend_name() == "sqlite":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        if _revision(engine) != SCHEMA_HEAD:
            _migrate(engine)
    except (DBAPIError, OSError, UnicodeDecodeError) as error:
        engine.dispose()
        raise LedgerError(f"ledger {url!r} cannot be opened: {_why(error, url)}") from error
    except BaseException:
        engine.dispose()
        raise
    readers = engine.execution_options(**{_READ_ONLY: True})
    return Ledger(
        engine,
        writers=sessionmaker(engine, expire_on_commit=False),
        readers=sessionmaker(readers, expire_on_commit=False),
    )


@contextmanager
def session_scope(ledger: Ledger, *, read_only: bool = False) -> Iterator[Session]:
    """One transaction: committed once at the end, rolled back if anything is raised.

    A writing scope waits for the other writer, so keep it short; reading scopes wait for nobody.
    LedgerError where the disk, the server or a damaged file stands in the way.
    """
    url = ledger.engine.url
    try:
        with (ledger.readers if read_only else ledger.writers)() as session:
            yield session
            session.commit()
    except IntegrityError:
        raise  # a mistake of ours, not the world's
    except (DatabaseError, UnicodeDecodeError) as error:
        doing = "read" if read_only else "written"
        raise LedgerError(f"ledger {url!r} cannot be {doing}: {_why(error, url)}") from error


def _why(error: DBAPIError | OSError | UnicodeDecodeError, url: URL) -> str:
    """The driver's reason in one line, and what to do about it."""
    if isinstance(error, UnicodeDecodeError):
        said: object = "malformed: text that is not UTF-8"  # of the database, or about it
    else:
        said = error.orig if isinstance(error, DBAPIError) else error.strerror
    reason = " ".join(str(said).split())
    if url.get_backend_name() != "sqlite":
        return f"{reason}; see that the server runs, lets you in and has space, and try again"
    low = reason.lower()
    if "readonly" in low or "read-only" in low or "permission" in low:
        return f"{reason}; make the file, those beside it and its folder writable for you"
    if "full" in low or "disk i/o" in low or "no space" in low:
        return f"{reason} ({_free(url)} bytes free there); make space and try again"
    if "malformed" in low or "not a database" in low:
        return f"{reason}; move the file away: `ssl-loop ledger rebuild` makes it again"
    return f"{reason}; see that its folder is there and writable, and try again"


def _free(url: URL) -> int:
    for folder in Path(str(url.database)).absolute().parents:
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0


def ledger_url(target: str | Path) -> URL:
    """SQLAlchemy's URL of a path or URL; PostgreSQL always through psycopg 3."""
    if isinstance(target, Path) or "://" not in target:
        return URL.create("sqlite", database=str(Path(target).absolute()))
    try:
        url = make_url(target)
    except ArgumentError as error:
        raise LedgerError(f"ledger URL {target!r}: {error}") from None
    if url.get_backend_name() == "sqlite":
        return url
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    raise LedgerError(
        f"ledger URL {url!r}: expected a path, sqlite:///PATH or postgresql://USER@HOST/NAME"
    )


def new_engine(url: URL) -> Engine:
    """An engine with the ledger's promises, at whatever schema; `open_ledger` brings it to head."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
    else:
        event.listen(engine, "begin", _postgresql_begin)
    event.listen(engine, "before_cursor_execute", _refuse_changes)
    return engine


def _sqlite_connect(dbapi_connection: Any, _record: Any) -> None:
    # By default the driver begins late and by itself; a check and the insert that relies on it
    # must share one transaction, so we say BEGIN ourselves.
    dbapi_connection.isolation_level = None
    dbapi_connection.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT_S * 1000)}")
    dbapi_connection.execute("PRAGMA foreign_keys = ON")


def _sqlite_begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READ_ONLY)
    # IMMEDIATE: a reader that turns writer is refused at once, however long the busy timeout.
    with _lock_wait():
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _postgresql_begin(connection: Connection) -> None:
    if not connection.get_execution_options().get(_READ_ONLY):
        # The same promise as SQLite's: one writer at a time, freed at the transaction's end.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'")
        with _lock_wait():
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")


@contextmanager
def _lock_wait() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if not re.search("locked|lock timeout", str(error.orig)):
            raise  # `session_scope` says what it is
        raise LedgerError(
            f"no turn to write to the ledger within {LOCK_WAIT_S} s ({error.orig}); "
            "see which other ssl-loop process holds it and try again"
        ) from error


def _refuse_changes(connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
    """Every way to a statement ends here: a flush, update(), delete(), or text."""
    options = connection.get_execution_options()
    if options.get(_MIGRATION):
        return
    if _CHANGES.match(statement):
        raise LedgerError(
            f"refused: {' '.join(statement.split())[:80]!r}; facts are added, never changed or "
            "deleted: record a newer one"
        )
    if options.get(_READ_ONLY) and statement.lstrip()[:6].upper() == "INSERT":
        raise LedgerError("refused: an insert in a read-only scope; use session_scope(ledger)")


def _revision(engine: Engine) -> str | None:
    with engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
        return _revision_of(connection)


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _migrate(engine: Engine) -> None:
    """Bring the schema to head in one transaction; who comes second finds it there."""
    from alembic import command
    from alembic.util import CommandError

    if engine.dialect.name == "sqlite":
        _write_ahead(engine)
    with engine.connect().execution_options(**{_MIGRATION: True}) as connection, connection.begin():
        revision = _revision_of(connection)
        try:
            command.upgrade(alembic_config(connection), "head")
        except CommandError as error:
            raise LedgerError(
                f"ledger {engine.url!r} has schema {revision!r}, this version knows up to "
                f"{SCHEMA_HEAD!r} ({error}); use the version of ssl-loop that wrote it"
            ) from error


def _write_ahead(engine: Engine) -> None:
    """Readers beside the writer; kept in the file, and impossible inside a transaction.

    SQLite refuses the change at once while another process writes, whatever the busy timeout, so
    the wait for a turn is ours.
    """
    statement = "PRAGMA journal_mode = WAL"
    raw = engine.raw_connection()
    last_try = time.monotonic() + LOCK_WAIT_S
    try:
        while True:
            try:
                raw.cursor().execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > last_try:
                    with _lock_wait():
                        raise OperationalError(statement, None, error) from error
            time.sleep(0.05)
    finally:
        raw.close()


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration for this connection, wherever the package is installed."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
