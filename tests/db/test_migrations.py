"""The migrations make exactly the tables that the code maps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from db.session import MIGRATIONS, SCHEMA_HEAD, alembic_config, ledger_url, open_ledger
from db.tables import Base
from tests.support.ledgers import new_target

ROOT = Path(__file__).parents[2]

POSTGRES_SCHEMA = """
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public'
UNION ALL SELECT 'enum', typname::text, enumlabel::text, enumsortorder::text
FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid
UNION ALL SELECT 'column', table_name::text, column_name::text, udt_name || is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
"""


@pytest.fixture
def migrated(empty_target: str) -> Iterator[Engine]:
    ledger = open_ledger(empty_target)
    yield ledger.engine
    ledger.close()


@pytest.fixture
def created(backend: str, tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(ledger_url(new_target(backend, tmp_path)))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_the_constant_is_the_only_head() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [SCHEMA_HEAD]


def test_from_empty_to_head_equals_the_metadata(migrated: Engine) -> None:
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_constraints_and_types_are_equal_too(migrated: Engine, created: Engine) -> None:
    # compare_metadata looks at neither CHECKs nor enum values.
    assert _schema(migrated) == _schema(created)


def _schema(engine: Engine) -> set[tuple[str, ...]]:
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            rows = {tuple(row) for row in connection.execute(text(POSTGRES_SCHEMA))}
            return {row for row in rows if "alembic" not in row[1]}
        tables = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql <> ''"))
        return {
            (name, line.strip().rstrip(","))
            for name, sql in tables
            if "alembic" not in name
            for line in sql.replace(chr(34), "").splitlines()
        }


def test_every_constraint_has_a_name() -> None:
    unnamed = [
        constraint
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if not constraint.name
    ]
    assert unnamed == []


def test_a_migration_that_fails_leaves_nothing(
    empty_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.runtime.migration import HeadMaintainer

    def fail(*_: object) -> None:
        raise RuntimeError("power cut after the last table, before the revision")

    with monkeypatch.context() as broken:
        broken.setattr(HeadMaintainer, "update_to_step", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            open_ledger(empty_target)
    engine = create_engine(ledger_url(empty_target))
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    open_ledger(empty_target).close()


def test_going_back_is_refused(migrated: Engine) -> None:
    with migrated.connect() as connection, pytest.raises(RuntimeError, match="never deleted"):
        command.downgrade(alembic_config(connection), "base")


@pytest.mark.programs
def test_alembic_check_passes_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    alembic = [sys.executable, "-m", "alembic", "-x", f"url={path}", "check"]
    done = subprocess.run(alembic, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected" in done.stdout
