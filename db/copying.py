"""A ledger copied whole while others write to it, as one moment saw it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import insert, select

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
    fresh = open_ledger(target)
    try:
        _copy_rows(ledger, fresh)
    finally:
        fresh.close()


def _copy_rows(ledger: Ledger, fresh: Ledger) -> None:
    options = {"isolation_level": "REPEATABLE READ", "ledger_read_only": True}
    with (
        ledger.engine.connect().execution_options(**options) as source,
        fresh.engine.begin() as copy,
    ):
        for table in Base.metadata.sorted_tables:
            rows = source.execute(select(table).order_by(*table.primary_key)).mappings().all()
            if rows:
                copy.execute(insert(table), [dict(row) for row in rows])
