"""prefect.toml as Prefect itself reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.processes.command import child_environment
from flows.services import prefect_server

PROGRAM = str(Path(sys.executable).with_name("prefect"))


@pytest.mark.programs
def test_every_prefect_program_reads_the_workspaces_settings(tmp_path: Path) -> None:
    prefect_server.write_settings(tmp_path, 4444, "secret")
    assert prefect_server.settings_url(tmp_path) == "http://127.0.0.1:4444"
    assert prefect_server.settings_url(tmp_path / "elsewhere") is None
    shown = subprocess.run(
        [PROGRAM, "config", "view", "--show-sources"],
        cwd=tmp_path,
        env=child_environment() | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for setting in (
        f"PREFECT_HOME='{tmp_path}/.ssl-loop/prefect'",
        "PREFECT_API_URL='http://127.0.0.1:4444/api'",
        "PREFECT_PLUGINS_ENABLED='True'",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY='30'",
        "PREFECT_WORKER_QUERY_SECONDS='2'",
        "PREFECT_SERVER_ANALYTICS_ENABLED='False'",
        "PREFECT_SERVER_EPHEMERAL_ENABLED='False'",
        "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION='60'",
        "PREFECT_SERVER_DATABASE_TIMEOUT='60'",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD='86400'",  # its database stays small
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED='events,flow_runs'",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD='604800'",
    ):
        assert setting in shown
