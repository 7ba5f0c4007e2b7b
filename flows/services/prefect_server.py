"""The workspace's own Prefect: its settings file, server, worker, deployment and watchman."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import tomllib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.processes.command import (
    LAST_LINES,
    carriers,
    child_environment,
    failure,
    started_with,
)
from flows.services.daemon import HOST, MARK
from flows.services.databases import PREFECT_VARIABLE, prefect_database
from flows.workspace.credentials import PREFECT_TOML, write_private
from flows.workspace.workspace import template_file
from pipeline import layout
from pipeline.errors import ServiceError
from pipeline.reading import read

HOME = layout.PRIVATE / "prefect"
DEPLOYMENT_FILE = Path("prefect.yaml")
POOL = "ssl-loop"
USER = "ssl-loop"
DEPLOYMENT = "ssl-loop/ssl-loop"
WATCH_DEPLOYMENT = "ssl-watch/ssl-watch"
OWN_HOSTS = (HOST, "localhost")  # the names under which its pages are asked for
EVENT = "ssl-loop.annotation"
EVENT_RESOURCE = "ssl-loop.workspace"
FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # in the environment of a run's process
HEARTBEAT_S = 30  # the shortest that Prefect allows
BUSY, BUSY_WAIT_S = 503, 0.5  # its answer when SQLite was locked: to be asked again
_SETTINGS = """\
# Written by `ssl-loop up`; Prefect reads it in this folder. A password is in it.
home = {home}

[api]
url = {url}
auth_string = {auth}

[plugins]
enabled = true  # `prefect deployment run ssl-loop`

[flows]
heartbeat_frequency = {heartbeat}

[worker]
query_seconds = 2  # 10 by default: the wait between a trigger and its run
prefetch_seconds = 0

[telemetry]
enable_resource_metrics = false

[server]
analytics_enabled = false

[server.api]
auth_string = {auth}
cors_allowed_origins = {origins}  # its own pages

[server.ephemeral]
enabled = false  # a server that is down is an error, not a new empty one

[server.concurrency]
initial_deployment_lease_duration = 60  # how long a run killed with its worker blocks the next

[server.database]
{database}timeout = 60  # SQLite: wait, rather than "database is locked"

[server.services.db_vacuum]
enabled = "events,flow_runs"
retention_period = 604800  # ticks without a trace elsewhere are kept for a week

[server.events]
retention_period = 86400  # what woke them: 60 kB a tick, about 100 MB a day at one a minute
"""
_ENDS = ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")


@dataclass(frozen=True)
class Api:
    """Where a workspace's Prefect server answers, and the login it asks for."""

    url: str
    auth: str = field(default="", repr=False)  # USER:PASSWORD, as Prefect's own pages ask for it


def settings(root: Path, port: int, password: str) -> str:
    """The text of prefect.toml for a server on that port of the loopback."""
    urls = [f"http://{name}:{port}" for name in OWN_HOSTS]
    # A JSON string is a TOML string.
    return _SETTINGS.format(
        home=json.dumps(str(root / HOME)),
        url=json.dumps(f"{urls[0]}/api"),
        auth=json.dumps(f"{USER}:{password}"),
        origins=json.dumps(",".join(urls)),
        heartbeat=HEARTBEAT_S,
        database=f"connection_url = {json.dumps(url)}\n" if (url := prefect_database()) else "",
    )


def write_settings(root: Path, port: int, password: str) -> None:
    """prefect.toml: every `prefect` command in the workspace talks to its own server."""
    write_private(root / PREFECT_TOML, settings(root, port, password))


def require_same_database(root: Path) -> None:
    """ServiceError where prefect.toml names a PostgreSQL and the environment does not any more.

    An empty SQLite in its place would forget runs, schedules and what was set up by hand.
    """
    file = root / PREFECT_TOML
    if (
        prefect_database() is None
        and file.exists()
        and "\nconnection_url = " in (read(file, error=ServiceError, secret=True).text())
    ):
        raise ServiceError(
            f"{file}: Prefect's database is a PostgreSQL, and ${PREFECT_VARIABLE} is not set; set "
            f"it as before, or remove {file} to begin with an empty database"
        )


def settings_mark(text: str) -> str:
    """What tells whether a program was started with these settings."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def api(root: Path) -> Api | None:
    """The server that prefect.toml names, None without the file."""
    if not (root / PREFECT_TOML).exists():
        return None
    remedy = "remove it, `ssl-loop up` writes it anew"
    file = read(root / PREFECT_TOML, remedy=remedy, error=ServiceError)
    try:
        named = tomllib.loads(file.text()).get("api", {})
    except (ValueError, RecursionError) as error:
        raise file.wrong(f"not valid TOML: {error}") from None
    if not isinstance(named, dict):
        raise file.wrong("api: expected a table")
    url = str(named.get("url", "")).removesuffix("/api")
    return Api(url, str(named.get("auth_string", ""))) if url else None


def settings_url(root: Path) -> str | None:
    """The address of the server that prefect.toml names, None without the file."""
    found = api(root)
    return found.url if found else None


def environment(**extra: str) -> dict[str, str]:
    """For Prefect's programs: its own variables are dropped, so that prefect.toml decides."""
    env = child_environment(**extra)
    return {name: value for name, value in env.items() if not name.startswith("PREFECT_")}


def server_command(port: int) -> list[str]:
    """The server; its settings come from prefect.toml."""
    return [sys.executable, "-m", "flows.services.prefect_host", "--port", str(port)]


def worker_command() -> list[str]:
    """The worker that runs ticks; its settings come from prefect.toml."""
    return [sys.executable, "-m", "flows.services.prefect_worker"]


def make_pool(server: Api, root: Path) -> None:
    """The work pool, which says how every run is started: no run says otherwise.

    There is no variable in it: a run that brings `command`, `env` or `working_dir` is refused.
    """
    template = {
        "job_configuration": {
            # Said plainly, so that Prefect does not look for a project to install first.
            "command": "python -m prefect.engine",
            "working_dir": str(root),
            "stream_output": True,
        },
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    named = {"work_pools": {"name": {"any_": [POOL]}}}
    if request("POST", server, "/work_pools/filter", named):
        request("PATCH", server, f"/work_pools/{POOL}", {"base_job_template": template})
    else:
        made = {"name": POOL, "type": "process", "base_job_template": template}
        request("POST", server, "/work_pools/", made)


def worker_is_ready(server: Api) -> bool:
    """Whether a worker polls the pool."""
    return bool(request("GET", server, f"/work_pools/{POOL}")["status"] == "READY")


def unfinished_runs(server: Api) -> list[dict[str, Any]]:
    """Runs that are under way, or that a worker has taken, as the server knows them."""
    states = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    found: list[dict[str, Any]] = request(
        "POST", server, "/flow_runs/filter", {"flow_runs": states}
    )
    return found


def crash_lost_runs(server: Api, root: Path) -> list[str]:
    """Names of unfinished runs that no process of the workspace is at, now in state Crashed.

    After a worker was killed together with its runs they would look alive, and hold the
    deployment's limit, until their heartbeat is missed.
    """
    found = {started_with(process, FLOW_RUN_VARIABLE) for process in carriers(MARK, str(root))}
    lost = [run for run in unfinished_runs(server) if run["id"] not in found]
    crashed = {"type": "CRASHED", "name": "Crashed", "message": "its worker was gone"}
    for run in lost:
        body = {"state": crashed, "force": True}
        request("POST", server, f"/flow_runs/{run['id']}/set_state", body)
    return [run["name"] for run in lost]


def emit(
    server: Api,
    *,
    payload: dict[str, Any],
    timeout_s: float,
    event: str = EVENT,
    key: str | None = None,
) -> None:
    """Post an event, by default the one that starts a tick; ServiceError when it was not taken.

    Events of the same `key` are one to the server, however often they are posted.
    """
    known_by = uuid.uuid5(uuid.NAMESPACE_URL, f"{event}/{key}") if key else uuid.uuid4()
    body = {
        "id": str(known_by),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": EVENT_RESOURCE},
        "payload": payload,
    }
    request("POST", server, "/events", [body], timeout_s=timeout_s)


def deploy(
    root: Path, server: Api, *, schedule_s: int, watched: bool, prefect_file: Path | None = None
) -> None:
    """Register prefect.yaml's deployments for this workspace; again replaces them.

    The watch runs by itself only where there is a folder for it (`watched`).
    """
    file = prefect_file or template_file(DEPLOYMENT_FILE)
    argv = [_program(), "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    env = environment(PWD=str(root))
    done = subprocess.run(argv, cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        raise ServiceError(failure(argv, done.returncode, lines[-LAST_LINES:]))
    # The first tick not at once: it would take the place of the one that a person starts by hand.
    first = datetime.now(UTC) + timedelta(seconds=schedule_s)
    schedule = {"interval": schedule_s, "anchor_date": first.isoformat()}
    for name, active in ((DEPLOYMENT, True), (WATCH_DEPLOYMENT, watched)):
        deployment = request("GET", server, f"/deployments/name/{name}")["id"]
        body = {"schedules": [{"schedule": schedule, "active": active}]}
        request("PATCH", server, f"/deployments/{deployment}", body)


def watch_for_lost_runs(server: Api) -> None:
    """Let the server call a run crashed when its heartbeats stop; made once.

    A kill -9 of worker and run leaves the run "Running" for ever otherwise, and by the
    deployment's limit no other would start.
    """
    name = "ssl-loop: runs that stopped without a word"
    known = request(
        "POST", server, "/automations/filter", {"automations": {"name": {"any_": [name]}}}
    )
    if known:
        return
    states = [f"prefect.flow-run.{end}" for end in _ENDS]
    automation = {
        "name": name,
        "trigger": {
            "type": "event",
            "after": states[:1],
            "expect": states,
            "match": {"prefect.resource.id": ["prefect.flow-run.*"]},
            "for_each": ["prefect.resource.id"],
            "posture": "Proactive",
            "threshold": 1,
            "within": 3 * HEARTBEAT_S,
        },
        "actions": [
            {"type": "change-flow-run-state", "state": "CRASHED", "message": "heartbeat lost"}
        ],
    }
    request("POST", server, "/automations/", automation)


def request(
    method: str, server: Api, path: str, body: Any = None, *, timeout_s: float = 60.0
) -> Any:
    """Prefect's answer; asked again while its database is busy, ServiceError for any other."""
    deadline = time.monotonic() + timeout_s
    user, _, password = server.auth.partition(":")
    auth = (user, password) if server.auth else None
    while True:
        try:
            with httpx.Client(trust_env=False, timeout=timeout_s, auth=auth) as client:
                answer = client.request(method, f"{server.url}/api{path}", json=body)
            if answer.status_code == BUSY and time.monotonic() + BUSY_WAIT_S < deadline:
                time.sleep(BUSY_WAIT_S)
                continue
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceError(
                f"Prefect server at {server.url}: {method} {path}: {error}"
            ) from None


def _program() -> str:
    return str(Path(sys.executable).with_name("prefect"))
