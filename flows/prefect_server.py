"""The workspace's own Prefect: its settings file, server, worker, deployment and watchman."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.processes import LAST_LINES, child_environment, failure
from flows.workspace import template_file
from pipeline import layout
from pipeline.errors import ServiceError
from pipeline.files import write_text

HOME = layout.PRIVATE / "prefect"
TOML = Path("prefect.toml")
DEPLOYMENT_FILE = Path("prefect.yaml")
POOL = "ssl-loop"
DEPLOYMENT = "ssl-loop/ssl-loop"
WATCH_DEPLOYMENT = "ssl-watch/ssl-watch"
EVENT = "ssl-loop.annotation"
EVENT_RESOURCE = "ssl-loop.workspace"
HEARTBEAT_S = 30  # the shortest that Prefect allows
BUSY, BUSY_WAIT_S = 503, 0.5  # its answer when SQLite was locked: to be asked again
_SETTINGS = """\
# Written by `ssl-loop up`; Prefect reads it in this folder.
home = {home}

[api]
url = {url}

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

[server.ephemeral]
enabled = false  # a server that is down is an error, not a new empty one

[server.concurrency]
initial_deployment_lease_duration = 60  # how long a run killed with its worker blocks the next

[server.database]
timeout = 60  # SQLite: wait, rather than "database is locked"

[server.services.db_vacuum]
enabled = "events,flow_runs"
retention_period = 2592000  # ticks without a trace elsewhere are kept for 30 days
"""
_ENDS = ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")


def write_settings(root: Path, url: str) -> None:
    """prefect.toml: every `prefect` command in the workspace talks to its own server."""
    home = json.dumps(str(root / HOME))  # a JSON string is a TOML string
    text = _SETTINGS.format(home=home, url=json.dumps(f"{url}/api"), heartbeat=HEARTBEAT_S)
    write_text(root / TOML, text)


def settings_url(root: Path) -> str | None:
    """The server that prefect.toml names, None without the file."""
    if not (root / TOML).exists():
        return None
    url = tomllib.loads((root / TOML).read_text()).get("api", {}).get("url", "")
    return str(url).removesuffix("/api") or None


def environment(**extra: str) -> dict[str, str]:
    """For Prefect's programs: its own variables are dropped, so that prefect.toml decides."""
    env = child_environment(**extra)
    return {name: value for name, value in env.items() if not name.startswith("PREFECT_")}


def server_command(host: str, port: int) -> list[str]:
    """The server; its settings come from prefect.toml."""
    return [_program(), "server", "start", "--host", host, "--port", str(port), "--analytics-off"]


def worker_command() -> list[str]:
    """The worker that runs ticks; makes its pool when it is not there."""
    return [_program(), "worker", "start", "--pool", POOL, "--type", "process", "--name", POOL]


def make_pool(url: str) -> None:
    """The work pool, so that deploying need not wait for the worker; again is fine."""
    found = _request("POST", url, "/work_pools/filter", {"work_pools": {"name": {"any_": [POOL]}}})
    if not found:
        _request("POST", url, "/work_pools/", {"name": POOL, "type": "process"})


def worker_is_ready(url: str) -> bool:
    """Whether a worker polls the pool and has told how runs are started in it."""
    pool = _request("GET", url, f"/work_pools/{POOL}")
    return pool["status"] == "READY" and bool(pool["base_job_template"])


def crash_lost_runs(url: str, running: Collection[str]) -> list[str]:
    """Names of unfinished runs whose id is not in `running`, now in state Crashed.

    After a worker was killed together with its runs they would look alive, and hold the
    deployment's limit, until their heartbeat is missed.
    """
    states = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    lost = [
        run
        for run in _request("POST", url, "/flow_runs/filter", {"flow_runs": states})
        if run["id"] not in running
    ]
    crashed = {"type": "CRASHED", "name": "Crashed", "message": "its worker was gone"}
    for run in lost:
        body = {"state": crashed, "force": True}
        _request("POST", url, f"/flow_runs/{run['id']}/set_state", body)
    return [run["name"] for run in lost]


def emit(
    url: str,
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
    _request("POST", url, "/events", [body], timeout_s=timeout_s)


def deploy(
    root: Path, url: str, *, schedule_s: int, watched: bool, prefect_file: Path | None = None
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
        deployment = _request("GET", url, f"/deployments/name/{name}")["id"]
        body = {"schedules": [{"schedule": schedule, "active": active}]}
        _request("PATCH", url, f"/deployments/{deployment}", body)


def watch_for_lost_runs(url: str) -> None:
    """Let the server call a run crashed when its heartbeats stop; made once.

    A kill -9 of worker and run leaves the run "Running" for ever otherwise, and by the
    deployment's limit no other would start.
    """
    name = "ssl-loop: runs that stopped without a word"
    known = _request(
        "POST", url, "/automations/filter", {"automations": {"name": {"any_": [name]}}}
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
    _request("POST", url, "/automations/", automation)


def _program() -> str:
    return str(Path(sys.executable).with_name("prefect"))


def _request(method: str, url: str, path: str, body: Any = None, *, timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with httpx.Client(trust_env=False, timeout=timeout_s) as client:
                answer = client.request(method, f"{url}/api{path}", json=body)
            if answer.status_code == BUSY and time.monotonic() + BUSY_WAIT_S < deadline:
                time.sleep(BUSY_WAIT_S)
                continue
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceError(f"Prefect server at {url}: {method} {path}: {error}") from None
