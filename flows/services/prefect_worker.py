"""The worker that starts ticks, renewed before its memory matters.

`python -m flows.services.prefect_worker`, in the workspace: prefect.toml there says which server.
Prefect's worker keeps some 0.4 MB of every run that it started, for ever. Between two runs, once
it holds RENEWED_ABOVE_MIB, the process begins again in its own place: same number, same
environment, same log.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path

import psutil

from flows.services import prefect_server
from pipeline.errors import ServiceError

RENEWED_ABOVE_MIB = 256.0  # 100 at its start
LIMIT_VARIABLE = "SSL_LOOP_WORKER_MIB"  # environment: another limit
LOOKS_EVERY_S = 10.0
COMMAND = ("worker", "start", "--pool", prefect_server.POOL, "--type", "process")


def may_renew(process: psutil.Process, limit_mib: float, runs: Callable[[], Sized]) -> bool:
    """Whether the process holds more than `limit_mib` MiB, has no child, and no run is unfinished.

    `runs` gives the unfinished runs and is asked last; a server that does not answer may know one.
    """
    if process.memory_info().rss <= limit_mib * 2**20 or process.children():
        return False
    try:
        return not runs()
    except ServiceError:
        return False


def _renew_when_due(root: Path, limit_mib: float) -> None:
    process = psutil.Process()
    while True:
        time.sleep(LOOKS_EVERY_S)
        if may_renew(process, limit_mib, partial(_unfinished, root)):
            held = process.memory_info().rss / 2**20
            print(f"worker begins again at {held:.0f} MiB", file=sys.stderr, flush=True)
            argv = [sys.executable, "-m", "flows.services.prefect_worker"]
            # This very program, no shell.
            os.execv(argv[0], argv)  # nosec B606


def _unfinished(root: Path) -> Sized:
    server = prefect_server.api(root)
    if server is None:
        raise ServiceError(f"{root}: no prefect.toml")
    return prefect_server.unfinished_runs(server)


def main() -> int:
    """Work until ended."""
    root = Path.cwd()
    server = prefect_server.api(root)
    if server is None:
        print("no prefect.toml here; `ssl-loop up` writes it", file=sys.stderr)
        return 2
    # One that was taken in the moment in which the worker began again.
    prefect_server.crash_lost_runs(server, root)
    from prefect.cli import app

    limit_mib = float(os.environ.get(LIMIT_VARIABLE) or RENEWED_ABOVE_MIB)
    threading.Thread(target=_renew_when_due, args=(root, limit_mib), daemon=True).start()
    sys.argv = ["prefect", *COMMAND, "--name", prefect_server.POOL]
    app()
    return 0


if __name__ == "__main__":
    sys.exit(main())
