"""How long the receiver of hooks keeps Label Studio waiting: 16 annotators at once.

`python -m benchmarks.robustness.receiver_load`. The receiver is the real program; Prefect behind it
is slow (2 s an event), then down; then strangers without the secret send bodies of 99 MB and open
connections on which they say nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.support import RESULTS, percentile_ms, table
from flows.processes.command import wait_until
from flows.services import prefect_server
from flows.services.daemon import HOST, answers, free_port
from flows.services.stack import hook_command
from flows.services.webhook import PATH, SECRET_HEADER
from flows.workspace.credentials import credentials
from pipeline.files import write_json, write_text

CLIENTS = 16
HOOKS = 200  # of each client
BODY = b'{"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {"id": 2}}'
STRANGERS, SILENT, BODY_BYTES = 12, 200, 99_000_000


class _SlowPrefect(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(2)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


class StartedReceiver(NamedTuple):
    """A receiver that answers."""

    port: int
    process: psutil.Process
    start_s: float
    """Until its first answer."""


@contextlib.contextmanager
def receiver(root: Path, prefect_port: int) -> Iterator[StartedReceiver]:
    """The hook's receiver of a workspace, in a process of its own until the block ends."""
    prefect_server.write_settings(root, prefect_port, "benchmark")
    port = free_port(8389)
    started = time.monotonic()
    with subprocess.Popen(hook_command(root, port)) as process:
        wait_until(lambda: answers(f"http://{HOST}:{port}/health"), 60, every_s=0.02)
        yield StartedReceiver(port, psutil.Process(process.pid), time.monotonic() - started)
        process.terminate()


def send_hooks(port: int, secret: str) -> tuple[list[float], Counter[int]]:
    """Seconds and statuses of all hooks, each on a connection of its own as Label Studio's are."""
    seconds: list[float] = []
    statuses: Counter[int] = Counter()

    def client() -> None:
        for _ in range(HOOKS):
            started = time.perf_counter()
            connection = http.client.HTTPConnection(HOST, port, timeout=20)
            headers = {SECRET_HEADER: secret, "Content-Type": "application/json"}
            try:
                connection.request("POST", PATH, BODY, headers)
                statuses[connection.getresponse().status] += 1
            except OSError:
                statuses[0] += 1
            finally:
                connection.close()
            seconds.append(time.perf_counter() - started)
            time.sleep(0.02)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, statuses


@contextlib.contextmanager
def strangers(port: int) -> Iterator[None]:
    """They send large bodies without the secret, again and again, and hold silent connections."""
    ended = threading.Event()

    def flood() -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES}\r\n\r\n".encode()
        while not ended.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection((HOST, port), timeout=5) as connection,
            ):
                connection.sendall(head)
                while not ended.is_set():
                    connection.sendall(b"x" * 65_536)
            time.sleep(0.05)

    threads = [threading.Thread(target=flood) for _ in range(STRANGERS)]
    with contextlib.ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(socket.create_connection((HOST, port), timeout=5))
        for thread in threads:
            thread.start()
        yield
        ended.set()
    for thread in threads:
        thread.join()


def measure(name: str, port: int, process: psutil.Process, secret: str) -> dict[str, Any]:
    """One row of the table."""
    load = os.getloadavg()[0]
    started = time.monotonic()
    seconds, statuses = send_hooks(port, secret)
    row = {
        "case": name,
        "hooks": len(seconds),
        "per_s": round(len(seconds) / (time.monotonic() - started)),
        "p50_ms": percentile_ms(seconds, 50),
        "p99_ms": percentile_ms(seconds, 99),
        "max_ms": round(max(seconds) * 1000, 1),
        "not_200": sum(count for status, count in statuses.items() if status != 200),
        "rss_mb": round(process.memory_info().rss / 1e6),
        "load_before": round(load, 1),
    }
    print(row, flush=True)
    return row


def main() -> int:
    """Write benchmarks/results/receiver_load.{json,md}."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    slow = ThreadingHTTPServer((HOST, 0), _SlowPrefect)
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        secret = credentials(root).webhook_secret
        with receiver(root, slow.server_address[1]) as (port, process, start_s):
            rows = [measure("Prefect takes 2 s", port, process, secret)]
            with strangers(port):
                rows.append(measure("the same, and strangers", port, process, secret))
        with receiver(root, 1) as (port, process, _):
            rows.append(measure("Prefect is down", port, process, secret))
    found = {
        "cores": os.cpu_count(),
        "start_s": round(start_s, 2),
        "clients": CLIENTS,
        "rows": rows,
    }
    write_json(RESULTS / "receiver_load.json", found)
    write_text(RESULTS / "receiver_load.md", _markdown(found))
    return 0


def _markdown(found: dict[str, Any]) -> str:
    rows = [{name: str(value) for name, value in row.items()} for row in found["rows"]]
    return "\n".join(
        [
            "# The receiver of hooks under load",
            "",
            f"`python -m benchmarks.robustness.receiver_load`: {found['clients']} clients at once "
            f"on {found['cores']} cores, which they, the receiver and the stand-in for Prefect "
            f"share; load_before is the machine's load of other programs. Strangers: {STRANGERS} "
            f"that send bodies of {BODY_BYTES // 10**6} MB without the secret, {SILENT} silent "
            f"connections. The receiver answers {found['start_s']} s after its start.",
            "",
            *table(rows),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
