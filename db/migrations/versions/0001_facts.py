"""The first tables: what was asked, answered, trained, measured and done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Made once: two tables share a type, which PostgreSQL would otherwise be told to make twice.
_METADATA = sa.MetaData()
ENUMS = {
    name: sa.Enum(*values, name=name, metadata=_METADATA, create_constraint=True)
    for name, values in {
        "checkpoint_kind": ("baseline", "teacher"),
        "query_source": ("strategy", "audit", "cold_start"),
        "verdict": ("accepted", "skipped", "quarantined"),
        "evaluated_split": ("val", "test"),
    }.items()
}


def upgrade() -> None:
    for kind in ENUMS.values():
        kind.create(op.get_bind())
    op.create_table(
        "domain",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("arrival", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_domain")),
        sa.UniqueConstraint("arrival", name=op.f("uq_domain_arrival")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=True),
        sa.Column("round_index", sa.Integer(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("key", name=op.f("uq_event_key")),
    )
    op.create_table(
        "round",
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("round_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.CheckConstraint("round_index >= 0", name=op.f("ck_round_round_index")),
        sa.ForeignKeyConstraint(["domain"], ["domain.name"], name=op.f("fk_round_domain_domain")),
        sa.PrimaryKeyConstraint("domain", "round_index", name=op.f("pk_round")),
    )
    op.create_table(
        "sample",
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["domain"], ["domain.name"], name=op.f("fk_sample_domain_domain")),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_sample")),
    )
    op.create_index(op.f("ix_sample_domain"), "sample", ["domain"])
    op.create_table(
        "checkpoint",
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("round_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", ENUMS["checkpoint_kind"], nullable=False),
        sa.Column("params_sha256", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(), nullable=False),
        sa.Column("trained_on", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain", "round_index"],
            ["round.domain", "round.round_index"],
            name=op.f("fk_checkpoint_domain_round_index_round"),
        ),
        sa.PrimaryKeyConstraint("domain", "round_index", "kind", name=op.f("pk_checkpoint")),
    )
    op.create_table(
        "query_item",
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("round_index", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("regions", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("source", ENUMS["query_source"], nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expected_minutes", sa.Float(), nullable=True),
        sa.CheckConstraint("rank >= 1", name=op.f("ck_query_item_rank")),
        sa.CheckConstraint("score >= 0 AND score <= 1", name=op.f("ck_query_item_score")),
        sa.ForeignKeyConstraint(
            ["domain", "round_index"],
            ["round.domain", "round.round_index"],
            name=op.f("fk_query_item_domain_round_index_round"),
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["sample.sample_id"], name=op.f("fk_query_item_sample_id_sample")
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_query_item")),
        sa.UniqueConstraint(
            "domain", "round_index", "rank", name=op.f("uq_query_item_domain_round_index_rank")
        ),
        sa.UniqueConstraint(
            "domain",
            "round_index",
            "sample_id",
            name=op.f("uq_query_item_domain_round_index_sample_id"),
        ),
    )
    op.create_table(
        "annotation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("tool_annotation_id", sa.BigInteger(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("lead_time_s", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("raw_sha256", sa.String(), nullable=False),
        sa.Column("mask_sha256", sa.String(), nullable=True),
        sa.Column("verdict", ENUMS["verdict"], nullable=False),
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
        sa.UniqueConstraint(
            "tool_annotation_id",
            "updated_at",
            "raw_sha256",
            name=op.f("uq_annotation_tool_annotation_id_updated_at_raw_sha256"),
        ),
    )
    op.create_index(op.f("ix_annotation_item_id"), "annotation", ["item_id"])
    op.create_table(
        "ls_task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("prediction_id", sa.BigInteger(), nullable=True),
        sa.Column("pre_annotation", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["item_id"], ["query_item.item_id"], name=op.f("fk_ls_task_item_id_query_item")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_task")),
        sa.UniqueConstraint(
            "item_id",
            "project_id",
            "task_id",
            "prediction_id",
            name=op.f("uq_ls_task_item_id_project_id_task_id_prediction_id"),
        ),
    )
    op.create_table(
        "measurement",
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("round_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", ENUMS["checkpoint_kind"], nullable=False),
        sa.Column("evaluated_domain", sa.String(), nullable=False),
        sa.Column("split", ENUMS["evaluated_split"], nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain", "round_index", "kind"],
            ["checkpoint.domain", "checkpoint.round_index", "checkpoint.kind"],
            name=op.f("fk_measurement_domain_round_index_kind_checkpoint"),
        ),
        sa.ForeignKeyConstraint(
            ["evaluated_domain"],
            ["domain.name"],
            name=op.f("fk_measurement_evaluated_domain_domain"),
        ),
        sa.PrimaryKeyConstraint(
            "domain",
            "round_index",
            "kind",
            "evaluated_domain",
            "split",
            "metric",
            name=op.f("pk_measurement"),
        ),
    )


def downgrade() -> None:
    raise RuntimeError("facts are never deleted: open a copy of the ledger made before")
