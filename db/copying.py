"""A ledger copied whole while others write to it, as one moment saw it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from db.ledger_errors import LedgerError
from db.session import Ledger, open_ledger
from db.tables import Base


def copy_ledger(ledger: Ledger, target: Path) -> None:
    """The ledger as a new SQLite file at `target`, row ids and clocks too."""
    if ledger.engine.dialect.name == "sqlite":
        raw = ledger.engine.raw_connection()
        try:
            with closing(sqlite3.connect(target)) as copy:
                raw.driver_connection.backup(copy)  # type: ignore[union-attr]
        finally:
            raw.close()
        return
    with closing(open_ledger(target)) as fresh:
        _copy_rows(ledger, fresh)


def require_empty(ledger: Ledger) -> None:
    """LedgerError unless the ledger has no row: what is there is never mixed with another's."""
    with ledger.engine.connect() as connection:
        there = [
            t.name
            for t in Base.metadata.sorted_tables
            if connection.execute(select(t).limit(1)).first()
        ]
    if there:
        raise LedgerError(
            f"ledger {ledger.engine.url!r} has rows already, in {', '.join(there)}; name an empty "
            "database"
        )


def fill_ledger(ledger: Ledger, source: Path) -> None:
    """Every row of the SQLite ledger at `source`, ids too, into an empty ledger; all or nothing."""
    require_empty(ledger)
    with closing(open_ledger(source)) as copied:
        _copy_rows(copied, ledger)


def _copy_rows(ledger: Ledger, fresh: Ledger) -> None:
    options: dict[str, Any] = {"ledger_read_only": True}
    if ledger.engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with (
        ledger.engine.connect().execution_options(**options) as source,
        fresh.engine.begin() as copy,
    ):
        for table in Base.metadata.sorted_tables:
            rows = source.execute(select(table).order_by(*table.primary_key)).mappings().all()
            if rows:
                copy.execute(insert(table), [dict(row) for row in rows])
                _count_on(copy, table)


def _count_on(copy: Connection, table: Table) -> None:
    """Let new rows have numbers beyond the copied ones, as SQLite does by itself."""
    if copy.dialect.name != "postgresql":
        return
    for column in table.primary_key:
        name = select(func.pg_get_serial_sequence(table.name, column.name)).scalar_subquery()
        highest = select(func.max(column)).scalar_subquery()
        if copy.execute(select(name)).scalar():
            copy.execute(select(func.setval(name, highest)))
