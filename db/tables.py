"""The tables of the ledger; `docs/architecture.md` draws them.

Natural keys wherever there is one, so that a row can be read without a join. `info=LOCAL` marks
what a ledger made again from git cannot know (row ids, our clock), `info=DIGEST` what is large:
`db.repository.facts` leaves the first out and hashes the second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LOCAL = {"local": True}
DIGEST = {"digest": True}


class QuerySource(StrEnum):
    """Why a sample is in a query: by its score, drawn at random, or before any model existed."""

    STRATEGY = "strategy"
    AUDIT = "audit"
    COLD_START = "cold_start"


class Verdict(StrEnum):
    """What became of one version of one annotation."""

    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    QUARANTINED = "quarantined"
    WITHDRAWN = "withdrawn"  # deleted in the tool after it was collected


class ItemState(StrEnum):
    """Where a query item stands; derived from its annotations, never stored."""

    OPEN = "open"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    QUARANTINED_ONCE = "quarantined_once"
    QUARANTINED_TWICE = "quarantined_twice"

    @property
    def settled(self) -> bool:
        """Whether the round need not wait for it; one unreadable answer still has a chance."""
        return self not in (ItemState.OPEN, ItemState.QUARANTINED_ONCE)


class CheckpointKind(StrEnum):
    """Trained on labels alone, or with the unlabelled pool."""

    BASELINE = "baseline"
    TEACHER = "teacher"


class EvaluatedSplit(StrEnum):
    """Where a measurement was taken; the test split is read once, at the end."""

    VAL = "val"
    TEST = "test"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, in UTC on the way out; SQLite keeps no zone, so naive ones are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC, or ValueError for one without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; pass an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC, whatever zone the server speaks."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Root of the tables; every constraint gets a name, since unnamed ones cannot be migrated."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, str: String}  # noqa: RUF012


def _enum(kind: type[StrEnum], name: str) -> Enum:
    """A native type on PostgreSQL, text with a CHECK on SQLite; values, not member names."""
    return Enum(
        kind,
        name=name,
        values_callable=lambda members: [member.value for member in members],
        create_constraint=True,
    )


def _now() -> datetime:
    return datetime.now(UTC)


class Domain(Base):
    """One imaging condition; `arrival` counts from 0."""

    __tablename__ = "domain"

    name: Mapped[str] = mapped_column(primary_key=True)
    arrival: Mapped[int] = mapped_column(unique=True)


class LedgerSample(Base):
    """One image for life; its split and mask are the manifest's business, since they change."""

    __tablename__ = "sample"

    sample_id: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(ForeignKey("domain.name"), index=True)
    image_sha256: Mapped[str]


class Round(Base):
    """One turn of the loop in one domain."""

    __tablename__ = "round"
    __table_args__ = (CheckConstraint("round_index >= 0", name="round_index"),)

    domain: Mapped[str] = mapped_column(ForeignKey("domain.name"), primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class QueryItem(Base):
    """One sample asked for in one round; `item_id` is `<domain>/<stem>/r<round_index>`."""

    __tablename__ = "query_item"
    __table_args__ = (
        ForeignKeyConstraint(["domain", "round_index"], ["round.domain", "round.round_index"]),
        UniqueConstraint("domain", "round_index", "sample_id"),
        UniqueConstraint("domain", "round_index", "rank"),
        CheckConstraint("rank >= 1", name="rank"),
        CheckConstraint("score >= 0 AND score <= 1", name="score"),
    )

    item_id: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str]
    round_index: Mapped[int]
    sample_id: Mapped[str] = mapped_column(ForeignKey("sample.sample_id"))
    # [{"box": [x, y, width, height], "rank", "score", "source", "reason"}]; null = whole image
    regions: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    score: Mapped[float]
    rank: Mapped[int]
    source: Mapped[QuerySource] = mapped_column(_enum(QuerySource, "query_source"))
    reason: Mapped[str] = mapped_column(Text)
    expected_minutes: Mapped[float | None]


class LsProject(Base):
    """Which project of the annotation tool asks for a domain; the highest `number` counts.

    A domain gets another one where its project was lost and put back, or moved. `workspace_id`
    keeps a restored workspace, whose ledger has the facts of its origin, from using its projects.
    """

    __tablename__ = "ls_project"
    __table_args__ = (CheckConstraint("number >= 0", name="number"),)

    workspace_id: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(ForeignKey("domain.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[int] = mapped_column(BigInteger)


class LsTask(Base):
    """A query item as it stands in the annotation tool, with the pre-annotation as sent.

    An item has more than one where the tool's project was made anew, or where a request was
    repeated on its way; the newest counts.
    """

    __tablename__ = "ls_task"
    __table_args__ = (UniqueConstraint("item_id", "project_id", "task_id", "prediction_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, info=LOCAL)
    item_id: Mapped[str] = mapped_column(ForeignKey("query_item.item_id"))
    project_id: Mapped[int] = mapped_column(BigInteger)
    task_id: Mapped[int] = mapped_column(BigInteger)
    prediction_id: Mapped[int | None] = mapped_column(BigInteger)
    # Masks as run lengths are some 100 kB each: read only when asked for.
    pre_annotation: Mapped[Any | None] = mapped_column(
        JSON(none_as_null=True), deferred=True, info=DIGEST
    )


class Annotation(Base):
    """One version of one answer, as collected; a later version is another row.

    `sequence` counts the versions in the order in which they came to the loop: clocks of tools go
    wrong, and a tool only ever gives an answer's present version. An answer is named by
    `tool_annotation_id` and `created_at`, since a tool that was set back to an older backup gives
    ids out again. `supersedes` is the version of the same item that came before this one.
    """

    __tablename__ = "annotation"
    __table_args__ = (
        UniqueConstraint("tool_annotation_id", "updated_at", "raw_sha256"),
        CheckConstraint(
            "(verdict = 'accepted') = (mask_sha256 IS NOT NULL)", name="accepted_has_mask"
        ),
        CheckConstraint("verdict <> 'quarantined' OR why <> ''", name="quarantined_says_why"),
        CheckConstraint("corrected_pixels >= 0", name="corrected_pixels"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, info=LOCAL)
    item_id: Mapped[str] = mapped_column(ForeignKey("query_item.item_id"), index=True)
    tool_annotation_id: Mapped[int] = mapped_column(BigInteger)
    annotator: Mapped[str]
    lead_time_s: Mapped[float | None]
    created_at: Mapped[datetime]  # in the tool, as the next
    updated_at: Mapped[datetime]
    sequence: Mapped[int] = mapped_column(unique=True)
    ground_truth: Mapped[bool]  # starred in the tool: it decides, whatever came later
    raw_sha256: Mapped[str]
    mask_sha256: Mapped[str | None]
    verdict: Mapped[Verdict] = mapped_column(_enum(Verdict, "verdict"))
    why: Mapped[str] = mapped_column(Text)
    corrected_pixels: Mapped[int | None] = mapped_column(BigInteger)
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("annotation.id"), info=LOCAL)
    collected_at: Mapped[datetime] = mapped_column(default=_now, info=LOCAL)


class Checkpoint(Base):
    """Weights that a round trained, and what they learnt from."""

    __tablename__ = "checkpoint"
    __table_args__ = (
        ForeignKeyConstraint(["domain", "round_index"], ["round.domain", "round.round_index"]),
    )

    domain: Mapped[str] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[CheckpointKind] = mapped_column(
        _enum(CheckpointKind, "checkpoint_kind"), primary_key=True
    )
    params_sha256: Mapped[str]
    weights_sha256: Mapped[str]
    trained_on: Mapped[dict[str, Any]] = mapped_column(info=DIGEST)  # sample_id -> hash of its mask


class Measurement(Base):
    """One metric of one checkpoint on one split of one domain; what is unknown has no row."""

    __tablename__ = "measurement"
    __table_args__ = (
        ForeignKeyConstraint(
            ["domain", "round_index", "kind"],
            ["checkpoint.domain", "checkpoint.round_index", "checkpoint.kind"],
        ),
    )

    domain: Mapped[str] = mapped_column(primary_key=True)
    round_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[CheckpointKind] = mapped_column(
        _enum(CheckpointKind, "checkpoint_kind"), primary_key=True
    )
    evaluated_domain: Mapped[str] = mapped_column(ForeignKey("domain.name"), primary_key=True)
    split: Mapped[EvaluatedSplit] = mapped_column(
        _enum(EvaluatedSplit, "evaluated_split"), primary_key=True
    )
    metric: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]


class Event(Base):
    """Audit: who did what, when; `key` makes the same happening one row.

    No foreign key: a log line must not fail because what it speaks of is not there yet.
    """

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True, info=LOCAL)
    key: Mapped[str] = mapped_column(unique=True)
    at: Mapped[datetime] = mapped_column(default=_now, info=LOCAL)
    who: Mapped[str]
    kind: Mapped[str]
    domain: Mapped[str | None]
    round_index: Mapped[int | None]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(info=LOCAL)  # counts, times: of the first run
    # See db/repository/chain.py; a ledger made again begins a chain of its own.
    previous_sha256: Mapped[str] = mapped_column(unique=True, info=LOCAL)
    sha256: Mapped[str] = mapped_column(info=LOCAL)
