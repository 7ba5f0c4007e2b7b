"""Addresses of PostgreSQL databases, as the services want them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flows.services import prefect_server
from flows.services.databases import (
    LABEL_STUDIO_VARIABLE,
    PREFECT_VARIABLE,
    label_studio_database,
    prefect_database,
)
from flows.workspace.credentials import PREFECT_TOML
from pipeline.errors import ConfigError, ServiceError


def test_without_an_address_every_service_has_a_sqlite_of_its_own(tmp_path: Path) -> None:
    assert (prefect_database(), label_studio_database()) == (None, {})
    assert "connection_url" not in prefect_server.settings(tmp_path, 4200, "p")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p%40s@db:6000/prefect", "postgresql+asyncpg://u:p%40s@db:6000/prefect"),
        ("postgresql+psycopg://u@db/x", "postgresql+asyncpg://u@db/x"),
        ("postgresql:///x?host=/run/pg&user=u", "postgresql+asyncpg://u@/x?host=%2Frun%2Fpg"),
    ],
)
def test_prefect_gets_its_own_driver_and_reads_it_in_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, expected: str
) -> None:
    monkeypatch.setenv(PREFECT_VARIABLE, given)
    server = tomllib.loads(prefect_server.settings(tmp_path, 4200, "p"))["server"]
    assert server["database"] == {"connection_url": expected, "timeout": 60}


def test_label_studio_gets_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LABEL_STUDIO_VARIABLE, "postgresql:///tool?host=/run/pg&user=u")
    assert label_studio_database() == {
        "LABEL_STUDIO_DJANGO_DB": "default",
        "LABEL_STUDIO_POSTGRE_HOST": "/run/pg",
        "LABEL_STUDIO_POSTGRE_PORT": "5432",
        "LABEL_STUDIO_POSTGRE_NAME": "tool",
        "LABEL_STUDIO_POSTGRE_USER": "u",
        "LABEL_STUDIO_POSTGRE_PASSWORD": "",
    }


@pytest.mark.parametrize(
    "text", ["mysql://u:secret@h/d", "secret", "postgresql://h:secret/d", "://"]
)
@pytest.mark.parametrize("variable", [PREFECT_VARIABLE, LABEL_STUDIO_VARIABLE])
def test_what_is_no_address_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match="expected postgresql://USER") as caught:
        prefect_database() if variable == PREFECT_VARIABLE else label_studio_database()
    assert variable in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_address_that_is_no_longer_given_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prefect_server.require_same_database(tmp_path)
    monkeypatch.setenv(PREFECT_VARIABLE, "postgresql://u:secret@db/prefect")
    prefect_server.write_settings(tmp_path, 4200, "p")
    prefect_server.require_same_database(tmp_path)
    monkeypatch.delenv(PREFECT_VARIABLE)
    with pytest.raises(ServiceError, match="is not set; set it as before") as caught:
        prefect_server.require_same_database(tmp_path)
    assert "secret" not in str(caught.value)
    (tmp_path / PREFECT_TOML).unlink()
    prefect_server.require_same_database(tmp_path)
