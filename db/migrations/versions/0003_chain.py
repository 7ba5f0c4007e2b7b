"""Events are chained: each has the hash of its content and of the event before it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

EVENT = sa.table(
    "event",
    sa.column("id", sa.Integer),
    sa.column("key", sa.String),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("who", sa.String),
    sa.column("kind", sa.String),
    sa.column("domain", sa.String),
    sa.column("round_index", sa.Integer),
    sa.column("subject", sa.String),
    sa.column("detail", sa.JSON),
    sa.column("previous_sha256", sa.String),
    sa.column("sha256", sa.String),
)
CONTENT = ("key", "at", "who", "kind", "domain", "round_index", "subject", "detail")


def upgrade() -> None:
    with op.batch_alter_table("event") as batch:
        batch.add_column(sa.Column("previous_sha256", sa.String(), nullable=True))
        batch.add_column(sa.Column("sha256", sa.String(), nullable=True))
    _chain(op.get_bind())
    with op.batch_alter_table("event") as batch:
        batch.alter_column("previous_sha256", existing_type=sa.String(), nullable=False)
        batch.alter_column("sha256", existing_type=sa.String(), nullable=False)
        batch.create_unique_constraint(op.f("uq_event_previous_sha256"), ["previous_sha256"])


def _chain(connection: sa.Connection) -> None:
    """The rows that are there, in the order of their recording; as db/repository/chain.py does."""
    previous = "0" * 64
    for row in connection.execute(sa.select(EVENT).order_by(EVENT.c.id)).mappings().all():
        told: dict[str, Any] = {name: row[name] for name in CONTENT}
        told["at"] = _utc(row["at"]).isoformat()
        told["previous_sha256"] = previous
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        values = {"previous_sha256": previous, "sha256": digest}
        connection.execute(sa.update(EVENT).where(EVENT.c.id == row["id"]).values(**values))
        previous = digest


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def downgrade() -> None:
    raise RuntimeError("facts are never deleted: open a copy of the ledger made before")
