"""The receiver that turns Label Studio's hook into the event that starts a tick.

`python -m flows.services.webhook --workspace DIR --port N`. The hook is a hint, never data:
whatever the body says, the tick reads the annotations itself. Label Studio waits for the answer
inside the annotator's request, so it is given as soon as the secret is right; Prefect is told
afterwards.

Anybody on the machine may connect, so everything has a limit (`flows.processes.bounded_http`).
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11

from flows.processes.bounded_http import BoundedServer, Reply
from flows.services import prefect_server
from flows.services.daemon import HOST
from flows.services.relay import Relay, say
from flows.workspace.credentials import credentials
from pipeline.errors import ServiceError

PATH = "/label-studio"
SECRET_HEADER = "X-SSL-Loop-Secret"
PREFECT_TIMEOUT_S = 10.0
_MAX_ID = 2**63 - 1


class Receiver(BoundedServer):
    """Answers on loopback."""

    body_limit_bytes = 65_536  # hooks are sent without their payload: some hundred bytes

    def __init__(self, *, secret: str, relay: Relay) -> None:
        super().__init__(say)
        self._secret = secret.encode()
        self._relay = relay

    def admit(self, request: h11.Request) -> HTTPStatus:
        """OK for a hook with the secret."""
        if request.method != b"POST" or request.target != PATH.encode():
            return HTTPStatus.NOT_FOUND
        given = dict(request.headers).get(SECRET_HEADER.lower().encode(), b"")
        if not hmac.compare_digest(given, self._secret):
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.OK

    async def answer(self, target: str, body: bytes) -> Reply:
        """OK at once; Prefect is told afterwards."""
        self._relay.hook(ids_of(body))
        return Reply(HTTPStatus.OK)


def ids_of(body: bytes) -> dict[str, Any]:
    """What is worth showing beside the event: action, project, task; {} for anything else."""
    try:
        hook = json.loads(body)
        action = hook["action"]
        ids = {name: hook.get(name, {}).get("id") for name in ("project", "task")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    found = {name: value for name, value in ids.items() if _is_id(value)}
    return {"action": action, **found} if _is_action(action) else {}


def _is_action(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) <= 64


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_ID


def main() -> int:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m flows.services.webhook", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    root = args.workspace.resolve()

    def send(payload: dict[str, Any]) -> None:
        server = prefect_server.api(root)  # read anew: the port may have moved
        if server is None:
            raise ServiceError(f"{root}: no prefect.toml; `ssl-loop up` writes it")
        prefect_server.emit(server, payload=payload, timeout_s=PREFECT_TIMEOUT_S)

    receiver = Receiver(secret=credentials(root).webhook_secret, relay=Relay(send))
    asyncio.run(receiver.serve(HOST, args.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
