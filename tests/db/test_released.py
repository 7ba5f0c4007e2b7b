"""Ledgers of every released schema, with data in them, come up to the newest one, fact by fact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from db.repository import events, facts, first_break
from db.session import (
    MIGRATIONS,
    alembic_config,
    ledger_url,
    new_engine,
    open_ledger,
    session_scope,
)

# Rows as that version wrote them, upon those of the version before.
RELEASED: dict[str, tuple[str, ...]] = {
    "0001": (
        "INSERT INTO domain VALUES ('day', 0), ('dusk', 1)",
        "INSERT INTO sample VALUES ('day/a', 'day', 'i1'), ('day/b', 'day', 'i2')",
        "INSERT INTO round VALUES ('day', 0), ('day', 1)",
        "INSERT INTO query_item (item_id, domain, round_index, sample_id, score, rank, source, "
        "reason) VALUES ('day/a/r0', 'day', 0, 'day/a', 0.5, 1, 'strategy', 'unsure'), "
        "('day/b/r0', 'day', 0, 'day/b', 0.25, 2, 'audit', '')",
        "INSERT INTO ls_task (id, item_id, project_id, task_id, prediction_id, pre_annotation) "
        "VALUES (1, 'day/a/r0', 1, 7, 9, '[]'), (2, 'day/b/r0', 1, 8, NULL, NULL)",
        "INSERT INTO annotation (id, item_id, tool_annotation_id, annotator, lead_time_s, "
        "created_at, updated_at, raw_sha256, mask_sha256, verdict, why, supersedes, collected_at) "
        "VALUES (1, 'day/a/r0', 5, 'me', 3.5, '2026-01-01 10:00:00', '2026-01-01 10:00:00', "
        "'raw1', 'mask1', 'accepted', '', NULL, '2026-01-01 10:00:05'), "
        "(2, 'day/a/r0', 5, 'me', NULL, '2026-01-01 10:00:00', '2026-01-01 11:00:00', "
        "'raw2', 'mask2', 'accepted', '', 1, '2026-01-01 11:00:05'), "
        "(3, 'day/b/r0', 6, 'me', 1, '2026-01-01 10:30:00', '2026-01-01 10:30:00', "
        "'raw3', NULL, 'quarantined', 'no label', NULL, '2026-01-01 10:30:05')",
        "INSERT INTO checkpoint (domain, round_index, kind, params_sha256, weights_sha256, "
        "trained_on) VALUES ('day', 1, 'teacher', 'p', 'w', '{\"day/a\": \"mask2\"}')",
        "INSERT INTO measurement VALUES ('day', 1, 'teacher', 'day', 'val', 'miou', 0.5)",
        "INSERT INTO event (id, key, at, who, kind, domain, round_index, subject, detail) VALUES "
        "(1, 'ingested/day', '2026-01-01 09:00:00.123456', 'ssl-loop', 'ingested', 'day', NULL, "
        "'', '{}'), (4, 'closed/day/r0', '2026-01-01 12:00:00', 'me', 'closed', 'day', 0, '', "
        '\'{"open": 1, "share": 0.1}\')',
    ),
    "0002": (
        "INSERT INTO ls_project VALUES ('w', 'day', 0, 1)",
        "UPDATE annotation SET ground_truth = true WHERE id = 2",
        "INSERT INTO annotation (id, item_id, tool_annotation_id, annotator, lead_time_s, "
        "created_at, updated_at, sequence, ground_truth, raw_sha256, mask_sha256, verdict, why, "
        "supersedes, collected_at) VALUES (4, 'day/b/r0', 6, 'me', 1, '2026-01-01 10:30:00', "
        "'2026-01-01 12:30:00', 3, false, 'raw4', NULL, 'withdrawn', '', 3, "
        "'2026-01-01 12:30:05')",
    ),
}
# Rows of each table that are there in the end.
COUNTS = {
    "0001": {
        "domain": 2, "sample": 2, "round": 2, "query_item": 2, "ls_task": 2, "annotation": 3,
        "checkpoint": 1, "measurement": 1, "event": 2,
    },
}  # fmt: skip
COUNTS["0002"] = COUNTS["0001"] | {"ls_project": 1, "annotation": 4}


def released() -> list[str]:
    script = ScriptDirectory(str(MIGRATIONS))
    return [revision.revision for revision in script.walk_revisions()][:0:-1]  # not the newest


@pytest.fixture
def engine(empty_target: str) -> Iterator[Engine]:
    made = new_engine(ledger_url(empty_target)).execution_options(ledger_migration=True)
    yield made
    made.dispose()


def filled(engine: Engine, revision: str) -> None:
    """The oldest schema with its rows, brought up to `revision` with the rows of those between."""
    for step in (step for step in released() if step <= revision):
        with engine.begin() as connection:
            command.upgrade(alembic_config(connection), step)
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))  # of the times in the rows
            for statement in RELEASED[step]:
                connection.execute(text(statement.replace(":", "\\:")))


@pytest.mark.parametrize("revision", released())
def test_every_released_schema_comes_up_with_its_data(
    engine: Engine, empty_target: str, revision: str
) -> None:
    assert revision in RELEASED, f"{revision}: say here what a ledger of that schema held"
    filled(engine, revision)
    ledger = open_ledger(empty_target)
    with session_scope(ledger, read_only=True) as session:
        found, rows = facts(session), events(session)
        assert first_break(rows) is None
    ledger.close()
    assert {table: len(of) for table, of in found.items() if of} == COUNTS[revision]
    assert [(row.id, row.key, row.who) for row in rows] == [
        (1, "ingested/day", "ssl-loop"),
        (4, "closed/day/r0", "me"),
    ]
    assert rows[1].detail == {"open": 1, "share": 0.1}
    by_raw: dict[str, dict[str, Any]] = {row["raw_sha256"]: row for row in found["annotation"]}
    assert by_raw["raw2"]["updated_at"] == "2026-01-01T11:00:00+00:00"
    assert by_raw["raw3"]["why"] == "no label"
    if revision > "0001":
        assert by_raw["raw2"]["ground_truth"] is True
        assert by_raw["raw4"]["verdict"] == "withdrawn"
