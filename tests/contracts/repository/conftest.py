"""A ledger with one domain, two rounds and a query."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from db.session import Ledger, session_scope
from tests.contracts.repository.recording import prepare


@pytest.fixture
def session(ledger: Ledger) -> Iterator[Session]:
    with session_scope(ledger) as session:
        prepare(session)
        yield session
