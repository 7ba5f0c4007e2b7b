"""A small HTTP server with a limit on everything: size, time, connections, lines in the log.

Anybody on the machine may connect. So the secret is looked at before the body, and no client can
write more than a line a minute into the log.

Written on asyncio and h11 for those limits: uvicorn and starlette have none for the size of a body
or the time of a request. They would start no sooner: 1.07 times as long, with 5 MiB more
(benchmarks/results/receiver_start.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import h11

HEAD_LIMIT_BYTES = 16_384
LINGER_S = 1.0  # for a client to read its refusal while it still sends
LOG_EVERY_S = 60.0


class Reply(NamedTuple):
    """What a request is answered with."""

    status: HTTPStatus
    content: Any = None  # becomes JSON; None: the status in words


class BoundedServer(ABC):
    """One request a connection, and a newcomer ends the oldest of too many.

    `GET /health` is answered to anybody; of all else `admit` sees the head first.
    """

    body_limit_bytes = 65_536
    request_s = 5.0  # for head and body together, however slowly they come; again for the answer
    answer_s = 5.0  # for making the answer, once all of the request is there
    max_connections = 64

    def __init__(self, say: Callable[[str], object]) -> None:
        """`say` writes a line into the log."""
        self._say = say
        self._connections: dict[asyncio.StreamWriter, None] = {}  # by age
        self._refused: Counter[str] = Counter()
        self._logged_at = float("-inf")

    @abstractmethod
    def admit(self, request: h11.Request) -> HTTPStatus:
        """OK for a request whose body is to be read, or what refuses it."""

    @abstractmethod
    async def answer(self, target: str, body: bytes) -> Reply:
        """The answer to an admitted request, of which all has come."""

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Begin to answer."""
        return await asyncio.start_server(self._connected, host, port, limit=HEAD_LIMIT_BYTES)

    async def serve(self, host: str, port: int) -> None:
        """Answer until ended."""
        async with await self.listen(host, port) as server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self.max_connections:
            self._refuse("one of too many connections")
            next(iter(self._connections)).transport.abort()
        self._connections[writer] = None
        try:
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
            async with asyncio.timeout(self.request_s):
                request = await _next_event(connection, reader)
                if not isinstance(request, h11.Request):
                    return
                reply, body = await self._read(request, connection, reader)
            if body is not None:
                async with asyncio.timeout(self.answer_s):
                    reply = await self.answer(request.target.decode(), body)
        except h11.RemoteProtocolError as error:
            reply = Reply(HTTPStatus(error.error_status_hint))
        except ValueError:  # a number that Python does not read
            reply = Reply(HTTPStatus.BAD_REQUEST)
        if reply.status != HTTPStatus.OK:
            self._refuse(f"{reply.status.value} {reply.status.phrase}")
        async with asyncio.timeout(self.request_s):
            writer.write(_response(reply))
            await writer.drain()
            if connection.their_state is not h11.DONE:
                await _linger(reader, writer)

    async def _read(
        self, request: h11.Request, connection: h11.Connection, reader: asyncio.StreamReader
    ) -> _Read:
        """The body of a request that is to be answered, or the reply that it gets without."""
        if request.method == b"GET" and request.target == b"/health":
            return _Read(Reply(HTTPStatus.OK), None)
        if (refused := self.admit(request)) != HTTPStatus.OK:
            return _Read(Reply(refused), None)
        too_large = _Read(Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE), None)
        headers = dict(request.headers)
        if int(headers.get(b"content-length", b"0")) > self.body_limit_bytes:
            return too_large
        body = bytearray()
        while isinstance(event := await _next_event(connection, reader), h11.Data):
            body += event.data
            if len(body) > self.body_limit_bytes:
                return too_large
        if not isinstance(event, h11.EndOfMessage):
            return _Read(Reply(HTTPStatus.BAD_REQUEST), None)
        return _Read(Reply(HTTPStatus.OK), bytes(body))

    def _refuse(self, why: str) -> None:
        self._refused[why] += 1
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            what = ", ".join(f"{count} x {why}" for why, count in self._refused.items())
            self._say(f"refused: {what}")
            self._refused.clear()
            self._logged_at = time.monotonic()


class _Read(NamedTuple):
    reply: Reply
    body: bytes | None  # None: the reply stands


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(HEAD_LIMIT_BYTES))
    return event


def _response(reply: Reply) -> bytes:
    status = reply.status
    content = {"status": status.phrase} if reply.content is None else reply.content
    text = json.dumps(content).encode() + b"\n"
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
