"""`ssl-loop run`: trigger the deployment and follow its run, log line by log line.

The server is the one of the workspace's own prefect.toml, spoken to without Prefect's client: that
would ask whatever server the environment or a profile names, with the key it finds there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from flows.services.prefect_server import DEPLOYMENT, Api, api, request
from pipeline.errors import ServiceError

POLL_S = 1.0
_LINES = 200  # the server gives no more at once
_FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def trigger(root: Path, *, wait: bool, on_line: Callable[[str], object]) -> str:
    """The run's last word; ServiceError when the server is down or the run failed."""
    server = api(root)
    if server is None:
        raise ServiceError(f"{root}: no Prefect server was started here; `ssl-loop up` starts it")
    try:
        deployment = request("GET", server, f"/deployments/name/{DEPLOYMENT}")["id"]
        run = request("POST", server, f"/deployments/{deployment}/create_flow_run", {})
    except ServiceError as error:
        raise ServiceError(
            f"{error}; `ssl-loop up` starts the server and deploys the loop"
        ) from None
    if not wait:
        return f"run {run['name']} created"
    return _follow(server, run["id"], on_line)


def _follow(server: Api, run_id: str, on_line: Callable[[str], object]) -> str:
    shown = 0
    while True:
        run = request("GET", server, f"/flow_runs/{run_id}")
        lines = request(
            "POST",
            server,
            "/logs/filter",
            {
                "logs": {"flow_run_id": {"any_": [run_id]}},
                "sort": "TIMESTAMP_ASC",
                "offset": shown,
                "limit": _LINES,
            },
        )
        for line in lines:
            at = datetime.fromisoformat(line["timestamp"])
            on_line(f"{at:%H:%M:%S} {line['message']}")
        shown += len(lines)
        state = run["state"] or {}
        if state.get("type") in _FINAL and not lines:
            if state["type"] == "COMPLETED":
                return f"run {run['name']}: {state['name']}"
            raise ServiceError(f"run {run['name']}: {state['name']}: {state['message']}")
        if not lines:
            time.sleep(POLL_S)
