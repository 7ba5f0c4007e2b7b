"""The whole ledger as plain data: for comparing one with another made from the same files."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, select
from sqlalchemy.orm import Session

from db.tables import Base

Facts = dict[str, list[dict[str, Any]]]


def facts(session: Session) -> Facts:
    """`table -> rows`, sorted and JSON-able, without row ids or our own clock.

    Large values stand as their hash. `annotation.supersedes` is left out: it names a row, and
    follows from the order of the versions.
    """
    found: Facts = {}
    for table in Base.metadata.sorted_tables:
        columns = [column for column in table.columns if not column.info.get("local")]
        rows = [
            {column.name: _plain(column, value) for column, value in zip(columns, row, strict=True)}
            for row in session.execute(select(*columns))
        ]
        found[table.name] = sorted(rows, key=_canonical)
    return found


def _plain(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if column.info.get("digest"):
        return hashlib.sha256(_canonical(value).encode()).hexdigest()
    if isinstance(value, StrEnum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
