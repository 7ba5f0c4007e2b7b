"""A small proxy between the loop and its tool that does to requests what networks do.

Everything passes until troubles are set. A trouble strikes the n-th request that fits it, for a
number of times, and `struck` says how often it did.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "content-encoding"}
PAGE = b"<html><head><title>gateway</title></head><body><center>gateway</center></body></html>"
SHORT_S = 0.3  # a delay that a person would call a hiccup


@dataclass(frozen=True)
class Reply:
    """What goes back; `cut` ends the connection after half of the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    cut: bool = False

    def with_json(self, change: Callable[[Any], Any]) -> Reply:
        """The same with another JSON; as it is where it is none."""
        try:
            body = json.dumps(change(json.loads(self.body))).encode()
        except ValueError:
            return self
        return Reply(self.status, self.headers, body)


@dataclass(frozen=True)
class Request:
    """What the loop sends."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Forward = Callable[[], Reply]
# None = the connection is closed without a word.
Act = Callable[[Request, Forward], Reply | None]


@dataclass
class Trouble:
    """What is done to the requests that fit, after `after` of them have passed."""

    act: Act
    fits: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    after: int = 0
    times: int = 1
    struck: int = 0

    def claims(self, request: Request) -> bool:
        """Whether it strikes this request; counts."""
        if not self.fits.search(f"{request.method} {request.path}") or self.struck >= self.times:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.struck += 1
        return True


class Proxy(ThreadingHTTPServer):
    """Listens on loopback and forwards to `upstream`."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.troubles: list[Trouble] = []
        self.seen: list[str] = []
        self._choosing = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def set(self, *troubles: Trouble) -> None:
        """From now on these and no others."""
        with self._choosing:
            self.troubles, self.seen = list(troubles), []

    def clear(self) -> int:
        """No trouble any more; how often there was some."""
        with self._choosing:
            struck = sum(trouble.struck for trouble in self.troubles)
            self.troubles = []
        return struck

    def act_for(self, request: Request) -> Act:
        with self._choosing:
            self.seen.append(f"{request.method} {request.path}")
            return next((t.act for t in self.troubles if t.claims(request)), passes)

    def forward(self, request: Request) -> Reply:
        connection = http.client.HTTPConnection(
            str(self.upstream.hostname), self.upstream.port, timeout=60
        )
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            answer = connection.getresponse()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP]
            return Reply(answer.status, kept, answer.read())
        finally:
            connection.close()

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "accept-encoding"}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        try:
            reply = self.server.act_for(request)(request, lambda: self.server.forward(request))
        except (OSError, http.client.HTTPException):
            reply = Reply(502, [("Content-Type", "text/html")], PAGE)  # the tool is down
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
        self.close_connection = self.close_connection or reply.cut

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

    def log_message(self, *_: Any) -> None:
        """Silent."""


# --- what networks, proxies and overloaded servers do


def passes(_: Request, forward: Forward) -> Reply | None:
    return forward()


def dropped(_: Request, __: Forward) -> Reply | None:
    """Never arrives."""
    return None


def lost_reply(_: Request, forward: Forward) -> Reply | None:
    """Is carried out, and nobody hears of it."""
    forward()
    return None


def delayed(_: Request, forward: Forward) -> Reply | None:
    time.sleep(SHORT_S)
    return forward()


def late(_: Request, forward: Forward) -> Reply | None:
    """Is carried out after the client has given up."""
    time.sleep(3 * SHORT_S)
    return forward()


def repeated(_: Request, forward: Forward) -> Reply | None:
    """Arrives twice, as by a proxy that tries again."""
    forward()
    return forward()


def truncated(_: Request, forward: Forward) -> Reply | None:
    reply = forward()
    return Reply(reply.status, reply.headers, reply.body, cut=len(reply.body) > 1)


def half_a_json(_: Request, forward: Forward) -> Reply | None:
    """Ends in the middle, and says that this is all."""
    reply = forward()
    return Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2])


def answered(status: int, body: bytes = PAGE, kind: str = "text/html") -> Act:
    """The proxy answers by itself."""
    return lambda _, __: Reply(status, [("Content-Type", kind)], body)


def other_shape(_: Request, forward: Forward) -> Reply | None:
    """JSON, but a list for an object and an object for a list."""
    return forward().with_json(lambda body: [] if isinstance(body, dict) else {})


def null(_: Request, forward: Forward) -> Reply | None:
    return forward().with_json(lambda _: None)


def fields_gone(_: Request, forward: Forward) -> Reply | None:
    """An object without any of its fields."""
    return forward().with_json(lambda body: {} if isinstance(body, dict) else [{} for _ in body])


def total_of(change: Callable[[int], int]) -> Act:
    """A list that lies about its length."""

    def act(_: Request, forward: Forward) -> Reply | None:
        return forward().with_json(lambda body: {**body, "total": change(body["total"])})

    return act


def empty_list(_: Request, forward: Forward) -> Reply | None:
    """Nothing there, it says, and knows nothing of a task."""
    return forward().with_json(lambda body: {**body, "tasks": [], "total": 0})


def shortened(_: Request, forward: Forward) -> Reply | None:
    """One task less than there are, and a total that agrees."""
    return forward().with_json(
        lambda body: {**body, "tasks": body["tasks"][1:], "total": len(body["tasks"][1:])}
    )


def meanwhile(do: Callable[[], object]) -> Act:
    """Somebody does something after the server has answered and before the loop reads it."""

    def act(_: Request, forward: Forward) -> Reply | None:
        reply = forward()
        do()
        return reply

    return act
