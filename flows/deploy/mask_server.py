"""`ssl-loop serve`: an image in, its mask out, over HTTP.

One image at a time is predicted; who comes meanwhile waits, and too many at once are told to come
back. Bodies lie on the disk, so that those who wait take no memory.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.deploy.openapi import OUTPUTS, openapi
from pipeline.data.formats.images import TooLargeError
from pipeline.errors import DataError, ServiceError

Ask = Callable[[Path, str], bytes]
"""An image file and one of OUTPUTS to the body of the answer; DataError for what is no image."""

RETRY_AFTER_S = 5
UNAUTHORISED = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """What a client may ask for."""

    max_mib: float = 64.0
    """Of an image file."""
    max_megapixels: float = 50.0
    """Of an image; reading takes 7 bytes a pixel."""
    max_clients: int = 64
    """Requests at once, the one that is predicted among them."""
    body_s: float = 30.0
    """Seconds for a client to send its image."""


class MaskServer:
    """The application; `ask` is called by one thread alone."""

    def __init__(
        self, ask: Ask, facts: dict[str, Any], limits: ServeLimits, token: str | None = None
    ) -> None:
        """GET /model says the `facts`; with a `token` clients have to send it."""
        self._ask, self._facts, self._limits = ask, facts, limits
        self._token = token
        self._clients = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._document = openapi(limits.max_mib, limits.max_megapixels, secret=token is not None)
        self.app = Starlette(
            routes=[
                Route("/predict", self._predict, methods=["POST"]),
                Route("/model", self._model),
                Route("/health", _health),
                Route("/openapi.json", self._openapi),
            ],
            exception_handlers={HTTPException: _refused},
        )

    async def _predict(self, request: Request) -> Response:
        self._require_token(request)
        output = request.query_params.get("output", OUTPUTS[0])
        if output not in OUTPUTS:
            raise HTTPException(400, f"output={output[:40]!r}: expected {', '.join(OUTPUTS)}")
        async with self._place():
            with TemporaryDirectory(prefix="ssl-loop-serve-") as folder:
                image = Path(folder) / "body"
                await self._receive(request, image)
                body = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._answer, image, output
                )
        kind = "application/json" if output == "shares" else "image/png"
        return Response(body, media_type=kind)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the places for clients; 503 where all are taken."""
        if self._clients >= self._limits.max_clients:
            said = f"{self._clients} requests are under way; come back in {RETRY_AFTER_S} s"
            raise HTTPException(503, said, headers={"Retry-After": str(RETRY_AFTER_S)})
        self._clients += 1
        try:
            yield
        finally:
            self._clients -= 1

    async def _receive(self, request: Request, image: Path) -> None:
        """The body into a file; 413 above max_mib, 408 for a client that is too slow."""
        most = int(self._limits.max_mib * 2**20)
        announced = request.headers.get("content-length", "")
        too_long = f"more than {self._limits.max_mib:g} MiB, which is the most that is taken here"
        if announced.isdecimal() and int(announced) > most:
            raise HTTPException(413, too_long)
        received = 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                with image.open("wb") as file:
                    async for part in request.stream():
                        received += len(part)
                        if received > most:
                            raise HTTPException(413, too_long)
                        file.write(part)
        except TimeoutError:
            raise HTTPException(408, f"not sent within {self._limits.body_s:g} s") from None
        except ClientDisconnect:
            raise HTTPException(400, "the client went away") from None

    def _answer(self, image: Path, output: str) -> bytes:
        """On the predicting thread."""
        try:
            return self._ask(image, output)
        except TooLargeError:
            most = self._limits.max_megapixels
            said = f"more pixels than are read here: {most:g} megapixels, of a WEBP 16"
            raise HTTPException(413, said) from None
        except DataError as error:
            said = str(error).replace(str(image), "the body")
            raise HTTPException(400, said) from None

    def _require_token(self, request: Request) -> None:
        if self._token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not right:
            raise HTTPException(401, "expected Authorization: Bearer TOKEN", headers=UNAUTHORISED)

    async def _model(self, request: Request) -> Response:
        self._require_token(request)
        return JSONResponse(self._facts)

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(self._document)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, at a free port for 0; ServiceError where it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ServiceError(
            f"{host}:{port}: cannot be listened at: {error}; name another --host or --port"
        ) from None


def serve(server: MaskServer, at: socket.socket) -> None:
    """Answer until interrupted; what is under way is answered to its end."""
    import uvicorn

    config = uvicorn.Config(server.app, log_level="warning", access_log=False, lifespan="off")
    with suppress(KeyboardInterrupt):  # uvicorn raises it again once all is answered
        uvicorn.Server(config).run(sockets=[at])
