"""The receiver that turns Label Studio's hook into the event that starts a tick.

`python -m flows.services.webhook --workspace DIR --port N`. The hook is a hint, never data:
whatever the body says, the tick reads the annotations itself. Label Studio waits for the answer
inside the annotator's request, so it is given as soon as the secret is right; Prefect is told
afterwards.

Anybody on the machine may connect. So the secret is looked at before the body, everything has a
limit (size, time, number of connections), and no client can write more than a line a minute into
the log.

Written on asyncio and h11 for those limits: uvicorn and starlette have none for the size of a body
or the time of a request. They would start no sooner: 1.07 times as long, with 5 MiB more
(benchmarks/results/receiver_start.md).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import json
import sys
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11

from flows.services import prefect_server
from flows.services.daemon import HOST
from flows.services.relay import Relay, say
from flows.workspace.credentials import credentials
from pipeline.errors import ServiceError

PATH = "/label-studio"
SECRET_HEADER = "X-SSL-Loop-Secret"
PREFECT_TIMEOUT_S = 10.0
HEAD_LIMIT_BYTES = 16_384
BODY_LIMIT_BYTES = 65_536  # hooks are sent without their payload: some hundred bytes
REQUEST_S = 5.0  # for head and body together, however slowly they come
LINGER_S = 1.0  # for a client to read its refusal while it still sends
MAX_CONNECTIONS = 64
LOG_EVERY_S = 60.0
_MAX_ID = 2**63 - 1


class Receiver:
    """Answers on loopback; one request a connection, and a newcomer ends the oldest of too many."""

    def __init__(self, *, secret: str, relay: Relay) -> None:
        self._secret = secret.encode()
        self._relay = relay
        self._connections: dict[asyncio.StreamWriter, None] = {}  # by age
        self._refused: Counter[str] = Counter()
        self._logged_at = float("-inf")

    async def listen(self, port: int) -> asyncio.Server:
        """Begin to answer."""
        return await asyncio.start_server(self._connected, HOST, port, limit=HEAD_LIMIT_BYTES)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            self._refuse("one of too many connections")
            next(iter(self._connections)).transport.abort()
        self._connections[writer] = None
        try:
            async with asyncio.timeout(REQUEST_S):
                await self._exchange(reader, writer)
        except TimeoutError:
            self._refuse("too slow")
        except OSError:
            pass  # the client is gone
        finally:
            self._connections.pop(writer, None)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)
        try:
            request = await _next_event(connection, reader)
            if not isinstance(request, h11.Request):
                return
            status = await self._answer(request, connection, reader)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
        except ValueError:  # a number that Python does not read
            status = HTTPStatus.BAD_REQUEST
        if status != HTTPStatus.OK:
            self._refuse(f"{status.value} {status.phrase}")
        text = json.dumps({"status": status.phrase}).encode() + b"\n"
        writer.write(_response(status, text))
        await writer.drain()
        if connection.their_state is not h11.DONE:
            await _linger(reader, writer)

    async def _answer(
        self, request: h11.Request, connection: h11.Connection, reader: asyncio.StreamReader
    ) -> HTTPStatus:
        if request.method == b"GET" and request.target == b"/health":
            return HTTPStatus.OK
        if request.method != b"POST" or request.target != PATH.encode():
            return HTTPStatus.NOT_FOUND
        headers = dict(request.headers)
        given = headers.get(SECRET_HEADER.lower().encode(), b"")
        if not hmac.compare_digest(given, self._secret):
            return HTTPStatus.UNAUTHORIZED
        if int(headers.get(b"content-length", b"0")) > BODY_LIMIT_BYTES:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        body = bytearray()
        while isinstance(event := await _next_event(connection, reader), h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT_BYTES:
                return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if not isinstance(event, h11.EndOfMessage):
            return HTTPStatus.BAD_REQUEST
        self._relay.hook(ids_of(bytes(body)))
        return HTTPStatus.OK

    def _refuse(self, why: str) -> None:
        self._refused[why] += 1
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            what = ", ".join(f"{count} x {why}" for why, count in self._refused.items())
            say(f"refused: {what}")
            self._refused.clear()
            self._logged_at = time.monotonic()


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(HEAD_LIMIT_BYTES))
    return event


def _response(status: HTTPStatus, text: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + text


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on for a moment, or closing would take the answer away from a client that sends."""
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while await reader.read(HEAD_LIMIT_BYTES):
                pass


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


async def serve(port: int, receiver: Receiver) -> None:
    """Answer until ended."""
    async with await receiver.listen(port) as server:
        await server.serve_forever()


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
    asyncio.run(serve(args.port, receiver))
    return 0


if __name__ == "__main__":
    sys.exit(main())
