"""Alembic's entry: on the connection that `open_ledger` hands over, or with `-x url=URL`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from db.session import ledger_url, new_engine
from db.tables import Base


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters by copying the table
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url", ".ssl-loop/ledger.db")
    engine = new_engine(ledger_url(url)).execution_options(ledger_migration=True)
    with engine.begin() as own:
        _run(own)
