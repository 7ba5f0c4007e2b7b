"""Label Studio's protocol of a machine learning backend, the part that clicks need.

`GET /health`, `POST /setup`, `POST /predict`. Everything but /health takes HTTP's basic
authentication, the only kind that Label Studio speaks. A question comes with the task's drafts,
predictions and annotations, so its body may be as large as these.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11

from flows.processes.bounded_http import BoundedServer, Reply
from pipeline.errors import SslLoopError

USER = "ssl-loop"
SETUP, PREDICT = "/setup", "/predict"
MAX_WAITING = 8  # questions at once; a team of twenty clicks less often
VERSION = "click-to-mask"

Predict = Callable[[Any], dict[str, Any]]


class MlBackend(BoundedServer):
    """Answers questions in the order in which they came, one at a time."""

    body_limit_bytes = 64 * 2**20
    request_s = 20.0
    answer_s = 60.0
    max_connections = 32

    def __init__(self, *, secret: str, predict: Predict, say: Callable[[str], object]) -> None:
        """`predict` gives a prediction for the body of /predict; what it raises is the refusal."""
        super().__init__(say)
        self._said = say
        self._secret = secret.encode()
        self._predict = predict
        self._turn = asyncio.Lock()
        self._waiting = 0

    def admit(self, request: h11.Request) -> HTTPStatus:
        """OK for what is asked with the secret."""
        if request.method != b"POST" or request.target.decode() not in (SETUP, PREDICT):
            return HTTPStatus.NOT_FOUND
        given = _password(dict(request.headers).get(b"authorization", b""))
        if not hmac.compare_digest(given, self._secret):
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.OK

    async def answer(self, target: str, body: bytes) -> Reply:
        """What Label Studio asks for; an error in words where there is no mask."""
        if target == SETUP:
            return Reply(HTTPStatus.OK, {"model_version": VERSION})
        if self._waiting >= MAX_WAITING:
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self._answered, body)
        finally:
            self._waiting -= 1

    def _answered(self, body: bytes) -> Reply:
        try:
            question = json.loads(body)
        except (ValueError, RecursionError):
            return Reply(HTTPStatus.BAD_REQUEST)
        try:
            return Reply(HTTPStatus.OK, {"results": [self._predict(question)]})
        except SslLoopError as error:
            self._said(f"no mask: {error}")
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        except Exception as error:  # an engine's own fault: the next click may do better
            self._said(f"no mask: {type(error).__name__}: {error}")
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "see the log"})


def _password(header: bytes) -> bytes:
    """The password of `Authorization: Basic ...` for our user; b"" for anything else."""
    kind, _, code = header.partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        user, _, password = base64.b64decode(code, validate=True).partition(b":")
    except binascii.Error:
        return b""
    return password if user == USER.encode() else b""
