"""The ledger: facts about who was asked what, who answered what, and what was trained on it.

SQLite by default, PostgreSQL by URL. Facts are added, never changed or deleted; what can be
derived is not stored. Knows neither pixels nor the annotation tool nor Prefect.
"""

from __future__ import annotations

from db.ledger_errors import LedgerConflictError, LedgerError
from db.session import Ledger, open_ledger, session_scope
from db.tables import CheckpointKind, ItemState, QuerySource, Verdict

__all__ = [
    "CheckpointKind",
    "ItemState",
    "Ledger",
    "LedgerConflictError",
    "LedgerError",
    "QuerySource",
    "Verdict",
    "open_ledger",
    "session_scope",
]
