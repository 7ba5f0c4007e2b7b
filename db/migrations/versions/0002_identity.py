"""Projects by id; versions in the order of their coming; starred and withdrawn answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

VERDICTS = ("accepted", "skipped", "quarantined", "withdrawn")
# The names below are constants of this file, so that no statement is put together from input: B608.
# The order in which a ledger made again from its files reads versions that say no order.
NUMBERED = """
SELECT id, ROW_NUMBER() OVER (ORDER BY updated_at, tool_annotation_id, raw_sha256) - 1 AS sequence
FROM annotation
"""


def upgrade() -> None:
    op.create_table(
        "ls_project",
        sa.Column("workspace_id", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("number >= 0", name=op.f("ck_ls_project_number")),
        sa.ForeignKeyConstraint(
            ["domain"], ["domain.name"], name=op.f("fk_ls_project_domain_domain")
        ),
        sa.PrimaryKeyConstraint("workspace_id", "domain", "number", name=op.f("pk_ls_project")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
    else:
        _postgresql()


def _postgresql() -> None:
    op.execute("ALTER TYPE verdict ADD VALUE 'withdrawn'")
    op.add_column("annotation", sa.Column("sequence", sa.Integer(), nullable=True))
    op.add_column("annotation", sa.Column("ground_truth", sa.Boolean(), nullable=True))
    op.execute(
        "UPDATE annotation SET ground_truth = false, sequence = numbered.sequence "
        f"FROM ({NUMBERED}) AS numbered WHERE numbered.id = annotation.id"  # nosec B608
    )
    op.alter_column("annotation", "sequence", nullable=False)
    op.alter_column("annotation", "ground_truth", nullable=False)
    op.create_unique_constraint(op.f("uq_annotation_sequence"), "annotation", ["sequence"])


def _sqlite() -> None:
    """A table made anew: SQLite cannot change a CHECK."""
    verdict = sa.Enum(*VERDICTS, name=op.f("ck_annotation_verdict"), create_constraint=True)
    op.create_table(
        "annotation_new",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("tool_annotation_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("lead_time_s", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("ground_truth", sa.Boolean(), nullable=False),
        sa.Column("raw_sha256", sa.String(), nullable=False),
        sa.Column("mask_sha256", sa.String(), nullable=True),
        sa.Column("verdict", verdict, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("corrected_pixels", sa.BigInteger(), nullable=True),
        sa.Column("supersedes", sa.Integer(), nullable=True),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(verdict = 'accepted') = (mask_sha256 IS NOT NULL)",
            name=op.f("ck_annotation_accepted_has_mask"),
        ),
        sa.CheckConstraint(
            "verdict <> 'quarantined' OR why <> ''", name=op.f("ck_annotation_quarantined_says_why")
        ),
        sa.CheckConstraint("corrected_pixels >= 0", name=op.f("ck_annotation_corrected_pixels")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["query_item.item_id"], name=op.f("fk_annotation_item_id_query_item")
        ),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["annotation.id"], name=op.f("fk_annotation_supersedes_annotation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation")),
        sa.UniqueConstraint("sequence", name=op.f("uq_annotation_sequence")),
        sa.UniqueConstraint(
            "tool_annotation_id",
            "updated_at",
            "raw_sha256",
            name=op.f("uq_annotation_tool_annotation_id_updated_at_raw_sha256"),
        ),
    )
    # `supersedes` follows last: while both tables are there it would hold the old one.
    kept = (
        "item_id, tool_annotation_id, annotator, lead_time_s, created_at, updated_at, raw_sha256, "
        "mask_sha256, verdict, why, corrected_pixels, collected_at"
    )
    op.execute(
        f"INSERT INTO annotation_new (id, sequence, ground_truth, {kept}) "
        f"SELECT annotation.id, numbered.sequence, 0, {kept} "
        f"FROM annotation JOIN ({NUMBERED}) AS numbered ON numbered.id = annotation.id"  # nosec B608
    )
    chain = op.get_bind().execute(sa.text("SELECT id, supersedes FROM annotation")).all()
    op.execute("UPDATE annotation SET supersedes = NULL")
    op.drop_table("annotation")
    op.rename_table("annotation_new", "annotation")
    op.create_index(op.f("ix_annotation_item_id"), "annotation", ["item_id"])
    links = [{"row": row, "before": before} for row, before in chain if before is not None]
    if links:
        statement = sa.text("UPDATE annotation SET supersedes = :before WHERE id = :row")
        op.get_bind().execute(statement, links)


def downgrade() -> None:
    raise RuntimeError("facts are never deleted: open a copy of the ledger made before")
