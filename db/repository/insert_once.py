"""The one rule behind every record: the same fact twice is one row, a different one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.ledger_errors import LedgerConflictError, LedgerError
from db.tables import Base

Row = TypeVar("Row", bound=Base)
Member = TypeVar("Member", bound=StrEnum)


class Recorded(NamedTuple, Generic[Row]):
    """A fact as it stands in the ledger."""

    row: Row
    is_new: bool
    """False where the same was recorded before."""


def add_once(
    session: Session,
    table: type[Row],
    key: Mapping[str, Any],
    content: Mapping[str, Any],
    first: Mapping[str, Any] | None = None,
) -> Recorded[Row]:
    """The row with this key, added unless it is there; LedgerConflictError where content differs.

    `first` is written with a new row and never compared. Safe against a second process, since
    writers take turns (`db.session`).
    """
    found = session.scalars(select(table).filter_by(**key)).one_or_none()
    if found is not None:
        refuse_difference(found, key, content)
        return Recorded(found, is_new=False)
    row = table(**key, **content, **(first or {}))
    session.add(row)
    session.flush()
    return Recorded(row, is_new=True)


def refuse_difference(row: Base, key: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """LedgerConflictError naming every column whose recorded value is not the given one."""
    differing = [
        f"{name}: recorded {_short(getattr(row, name))}, given {_short(value)}"
        for name, value in content.items()
        if getattr(row, name) != value
    ]
    if differing:
        named = ", ".join(f"{name}={value!r}" for name, value in key.items())
        raise LedgerConflictError(
            f"{row.__tablename__} {named} is already recorded with other content "
            f"({'; '.join(differing)}); facts are never changed: record a new one under its own key"
        )


def member(kind: type[Member], value: str, what: str) -> Member:
    """The enum's member of this value; LedgerError lists the allowed ones."""
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(kind)
        raise LedgerError(f"{what} {value!r}: expected one of {allowed}") from None


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
