"""`ssl-loop run`: trigger the deployment and follow its run, log line by log line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import ServiceError

DEPLOYMENT = "ssl-loop/ssl-loop"
POLL_S = 1.0


def trigger(root: Path, *, wait: bool, on_line: Callable[[str], object]) -> str:
    """The run's last word; ServiceError when the server is down or the run failed."""
    os.chdir(root)  # Prefect reads prefect.toml, with the server's address, from the working folder
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        run: Any = run_deployment(DEPLOYMENT, timeout=0, as_subflow=False)
        if not wait:
            return f"run {run.name} created"
        with get_client(sync_client=True) as client:
            return _follow(client, run.id, on_line)
    except ObjectNotFound:
        raise ServiceError(
            f"the Prefect server knows no deployment {DEPLOYMENT}; `ssl-loop up` deploys it"
        ) from None
    except (httpx.HTTPError, RuntimeError) as error:
        raise ServiceError(
            f"the Prefect server does not answer ({error}); `ssl-loop up` starts it"
        ) from None


def _follow(client: Any, run_id: Any, on_line: Callable[[str], object]) -> str:
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    this_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    shown = 0
    while True:
        run = client.read_flow_run(run_id)
        lines = client.read_logs(this_run, sort=LogSort.TIMESTAMP_ASC, offset=shown, limit=200)
        for line in lines:
            on_line(f"{line.timestamp:%H:%M:%S} {line.message}")
        shown += len(lines)
        if run.state and run.state.is_final() and not lines:
            if run.state.is_completed():
                return f"run {run.name}: {run.state.name}"
            raise ServiceError(f"run {run.name}: {run.state.name}: {run.state.message}")
        if not lines:
            time.sleep(POLL_S)
