"""Start-up time and memory of the hook's receiver, beside the same on starlette and uvicorn.

`python -m benchmarks.timings.receiver_start`. The three programs are started in turn, RUNS times
each: flows.services.webhook; an app on starlette that takes hooks as it does, with the same secret
and relay but none of its limits; and a starlette app of one line, which is the least that such a
program can need.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.support import RESULTS
from flows.processes.command import end, wait_until
from flows.services import prefect_server
from flows.services.daemon import HOST, answers, free_port
from flows.services.stack import hook_command
from flows.workspace.credentials import credentials
from pipeline.files import write_text

RUNS = 9
LIMIT_S = 60.0
LEAST = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

app = Starlette(routes=[Route("/health", lambda request: JSONResponse({"status": "OK"}))])
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""
SAME = """
import hmac, sys, uvicorn
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from flows.services import prefect_server
from flows.services.relay import Relay
from flows.services.webhook import PATH, SECRET_HEADER, ids_of
from flows.workspace.credentials import credentials

root = Path(sys.argv[1])
secret = credentials(root).webhook_secret
relay = Relay(lambda payload: prefect_server.emit(
    prefect_server.api(root), payload=payload, timeout_s=10.0))

async def hook(request):
    if not hmac.compare_digest(request.headers.get(SECRET_HEADER, ""), secret):
        return JSONResponse({"status": "Unauthorized"}, 401)
    relay.hook(ids_of(await request.body()))
    return JSONResponse({"status": "OK"})

app = Starlette(routes=[Route("/health", lambda request: JSONResponse({"status": "OK"})),
                        Route(PATH, hook, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""
PROGRAMS = ("ours, asyncio and h11", "the same on starlette", "least on starlette")


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a program."""

    seconds: float  # to its first answer
    rss_mb: float


def start(argv: list[str], port: int) -> Start:
    """Start a program, wait for its answer, end it."""
    began = time.monotonic()
    with subprocess.Popen(argv) as process:
        url = f"http://{HOST}:{port}/health"
        if not wait_until(lambda: answers(url), LIMIT_S, every_s=0.01):
            raise SystemExit(f"{argv}: no answer after {LIMIT_S:.0f} s")
        seconds = time.monotonic() - began
        program = psutil.Process(process.pid)
        found = Start(seconds=seconds, rss_mb=program.memory_info().rss / 2**20)
        end([program])
    return found


def main() -> int:
    """Measure and write benchmarks/results/receiver_start.md."""
    starts: dict[str, list[Start]] = {name: [] for name in PROGRAMS}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        credentials(root)
        prefect_server.write_settings(root, 4299, "benchmark")
        for _ in range(RUNS):
            for name in PROGRAMS:
                port = free_port(8389)
                text = SAME if name == PROGRAMS[1] else LEAST
                ours = hook_command(root, port)
                other = [sys.executable, "-c", text, str(root), str(port)]
                starts[name].append(start(ours if name == PROGRAMS[0] else other, port))
    write_text(RESULTS / "receiver_start.md", _markdown(starts, load))
    print(_markdown(starts, load))
    return 0


def _markdown(starts: dict[str, list[Start]], load: float) -> str:
    lines = [
        "# The receiver's start",
        "",
        f"`python -m benchmarks.timings.receiver_start`: {RUNS} starts of each in turn, on "
        f"{os.cpu_count()} cores with a load of {load:.1f} of other programs. Seconds to the first "
        "answer; memory after it.",
        "",
        "| receiver | s, median | s, least | s, most | MiB, median |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in starts.items():
        seconds = [one.seconds for one in found]
        memory = statistics.median(one.rss_mb for one in found)
        lines.append(
            f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | "
            f"{max(seconds):.2f} | {memory:.0f} |"
        )
    ours, same, _ = (statistics.median(s.seconds for s in found) for found in starts.values())
    return "\n".join(
        [*lines, "", f"The same on starlette needs {same / ours:.2f} times as long.", ""]
    )


if __name__ == "__main__":
    sys.exit(main())
