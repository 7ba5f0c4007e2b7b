"""What can go wrong with the ledger, in words a user can act on.

LedgerError
`-- LedgerConflictError   the same key was given with other content than the ledger has
"""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger cannot be opened or refuses a statement; the message names the remedy."""


class LedgerConflictError(LedgerError):
    """A fact is already recorded with other content; facts are never changed."""
