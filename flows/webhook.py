"""The receiver that turns Label Studio's hook into the event that starts a tick.

`python -m flows.webhook --workspace DIR --port N`. The hook is a hint, never data: whatever the
body says, the tick reads the annotations itself. It is loud: Label Studio is told 5xx when Prefect
did not take the event. Label Studio waits at most one second, inside the annotator's request.
"""

from __future__ import annotations

import argparse
import hmac
import json
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flows import prefect_server
from flows.credentials import credentials
from flows.daemons import HOST
from pipeline.errors import ServiceError

PATH = "/label-studio"
SECRET_HEADER = "X-SSL-Loop-Secret"
PREFECT_TIMEOUT_S = 0.8
BODY_LIMIT_BYTES = 100_000_000  # masks travel in it; more than this is not a hook
# Hooks that come in a burst make one event. The last of them may have met a running tick, whose
# successor Prefect cancels; so one more event follows when that tick is over.
QUIET_S = 1.0
AGAIN_S = 12.0

Send = Callable[[dict[str, Any]], None]


class Relay:
    """Posts at most one event per QUIET_S, and one more AGAIN_S after the last hook."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._timer: threading.Timer | None = None

    def hook(self, payload: dict[str, Any]) -> None:
        """Post now unless one was posted just before; ServiceError when Prefect refuses."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer = threading.Timer(AGAIN_S, self._again, [payload])
            self._timer.daemon = True
            self._timer.start()
            if time.monotonic() - self._last < QUIET_S:
                return
            self._send(payload)
            self._last = time.monotonic()

    def _again(self, payload: dict[str, Any]) -> None:
        try:
            self._send(payload | {"again": True})
        except ServiceError as error:
            print(f"second event lost, the schedule will do: {error}", file=sys.stderr, flush=True)


class Receiver(ThreadingHTTPServer):
    """The HTTP server on loopback; `relay` and `secret` are what its handler needs."""

    daemon_threads = True

    def __init__(self, port: int, *, secret: str, relay: Relay) -> None:
        self.secret = secret
        self.relay = relay
        super().__init__((HOST, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = 10  # a client that stops sending must not keep a thread

    def do_GET(self) -> None:
        self._answer(HTTPStatus.OK if self.path == "/health" else HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        body = self._body()
        if self.path != PATH:
            return self._answer(HTTPStatus.NOT_FOUND)
        given = self.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), self.server.secret.encode()):
            return self._answer(HTTPStatus.UNAUTHORIZED)
        if body is None:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            self.server.relay.hook(ids_of(body))
        except ServiceError as error:
            return self._answer(HTTPStatus.BAD_GATEWAY, str(error))
        return self._answer(HTTPStatus.OK)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT_BYTES:
            self.close_connection = True
            return None
        return self.rfile.read(int(length))

    def _answer(self, status: HTTPStatus, why: str = "") -> None:
        text = (json.dumps({"status": status.phrase, "why": why}) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def ids_of(body: bytes) -> dict[str, Any]:
    """What is worth showing beside the event: action, project, task; {} for anything else."""
    try:
        hook = json.loads(body)
        found = {"action": hook["action"]}
        for name in ("project", "task"):
            found[name] = hook.get(name, {}).get("id")
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str | int)}


def main() -> int:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m flows.webhook", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    root = args.workspace.resolve()

    def send(payload: dict[str, Any]) -> None:
        server = prefect_server.api(root)  # read anew: the port may have moved
        if server is None:
            raise ServiceError(f"{root}: no prefect.toml; `ssl-loop up` writes it")
        prefect_server.emit(server, payload=payload, timeout_s=PREFECT_TIMEOUT_S)

    secret = credentials(root).webhook_secret
    Receiver(args.port, secret=secret, relay=Relay(send)).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
