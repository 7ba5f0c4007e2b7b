"""HTTP with Label Studio: both kinds of token, and every failure as words with a remedy.

The loop's own requests go through httpx, not through label-studio-sdk: importing the SDK takes
2.4 to 4.8 s and 160 MB (httpx: 0.4 s, 29 MB), in a tick that should answer within seconds, and
sending 50 tasks with masks (9.9 MB) takes it 3.3 s where httpx takes 0.9 s.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import httpx

from pipeline.errors import ServiceError

TIMEOUT_S = 120.0  # 50 tasks with masks take the server about a second on two idle cores
CONNECT_TIMEOUT_S = 10.0
# An access token lives 300 s; this much before its end it is renewed.
_RENEW_BEFORE_S = 60.0


class Http:
    """One server with one token. Answers are JSON; everything else is a ServiceError."""

    def __init__(self, url: str, api_key: str) -> None:
        """`api_key`: a legacy token or a personal access token; which one shows in its form."""
        self.url = url.rstrip("/")
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ServiceError(
                f"Label Studio's address {url!r}: expected http://HOST:PORT or https://HOST"
            )
        if not api_key.strip().isascii() or not api_key.strip():
            raise ServiceError(f"no usable token for Label Studio at {self.url}; {_TOKEN_REMEDY}")
        auth = _auth(self.url, api_key.strip())
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        # A proxy must not be asked for a server on this machine.
        is_local = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self.client = httpx.Client(
            base_url=self.url, auth=auth, timeout=timeout, trust_env=not is_local
        )

    def get(self, path: str, **params: Any) -> Any:
        """JSON of a GET."""
        return self._json("GET", path, params=params)

    def get_or_none(self, path: str) -> Any:
        """JSON of a GET; None when Label Studio says that there is nothing (404)."""
        response = self._send("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND and _is_label_studios(response):
            return None
        return self._checked(response)

    def post(self, path: str, body: Any = None, **params: Any) -> Any:
        """JSON of a POST."""
        return self._json("POST", path, json=body, params=params)

    def upload(self, path: str, files: list[tuple[str, Any]], **params: Any) -> Any:
        """JSON of a POST of files."""
        return self._json("POST", path, files=files, params=params)

    def patch(self, path: str, body: Any) -> Any:
        """JSON of a PATCH."""
        return self._json("PATCH", path, json=body)

    def delete(self, path: str) -> bool:
        """Whether it was there."""
        response = self._send("DELETE", path)
        if response.status_code == httpx.codes.NOT_FOUND and _is_label_studios(response):
            return False
        self._check(response)
        return True

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return self._checked(self._send(method, path, **options))

    def _checked(self, response: httpx.Response) -> Any:
        self._check(response)
        try:
            return response.json()
        except ValueError:
            raise ServiceError(self._not_label_studio(response)) from None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self.client.request(method, path, **options)
        except httpx.TimeoutException:
            raise ServiceError(
                f"Label Studio at {self.url} did not answer {method} {path} in time; it may be "
                "busy or out of memory: look at its log and try again (nothing is sent twice)"
            ) from None
        except httpx.ConnectError as error:
            raise ServiceError(
                f"Label Studio at {self.url} cannot be reached ({error}); `ssl-loop up` starts "
                "the local one, annotation.url in params.yaml names another"
            ) from None
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the connection to Label Studio at {self.url} broke during {method} {path} "
                f"({type(error).__name__}: {error}); try again (nothing is sent twice)"
            ) from None

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        request = response.request
        if response.is_server_error:
            raise ServiceError(
                f"Label Studio at {self.url} failed on {request.method} {request.url.path} "
                f"({response.status_code}); its log says why"
            )
        if not _is_label_studios(response):
            raise ServiceError(self._not_label_studio(response))
        said = _said(response)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise ServiceError(
                f"Label Studio at {self.url} refuses the token (401: {said}); {_TOKEN_REMEDY}"
            )
        raise ServiceError(
            f"Label Studio at {self.url} refuses {request.method} {request.url.path} "
            f"({response.status_code}): {said}"
        )

    def _not_label_studio(self, response: httpx.Response) -> str:
        where = str(response.request.url.copy_with(query=None))
        return (
            f"{where} answered {response.status_code}, but not as Label Studio does; check the "
            f"address {self.url} (annotation.url in params.yaml): is another program there?"
        )


_TOKEN_REMEDY = (
    "take one from Label Studio's page 'Account & Settings' (a personal access token; a legacy "
    "token only where the organization allows them) and set it as LABEL_STUDIO_API_KEY"
)


def _is_label_studios(response: httpx.Response) -> bool:
    """Its errors are JSON with a status_code or a detail; a stranger's page is not."""
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "version" in body


def _said(response: httpx.Response) -> str:
    body = response.json()
    problems = body.get("validation_errors") or body.get("exc_info")
    return f"{body.get('detail')} {json.dumps(problems) if problems else ''}".strip()[:500]


def _auth(url: str, api_key: str) -> httpx.Auth:
    if _claims(api_key) is None:
        return _LegacyToken(api_key)
    return _PersonalToken(url, api_key)


def _claims(token: str) -> dict[str, Any] | None:
    """What a JWT says about itself; None when it is none (a legacy token is 40 hex digits)."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


class _LegacyToken(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._header = f"Token {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


class _PersonalToken(httpx.Auth):
    """A personal access token only buys short-lived ones."""

    requires_response_body = True

    def __init__(self, url: str, token: str) -> None:
        self._refresh_url = f"{url}/api/token/refresh/"
        self._token = token
        self._access = ""
        self._renew_at = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if time.time() >= self._renew_at:
            refusal = yield from self._renew()
            if refusal is not None:
                return
        request.headers["Authorization"] = f"Bearer {self._access}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:  # clocks differ, or it was revoked
            yield from self._renew()
            request.headers["Authorization"] = f"Bearer {self._access}"
            yield request

    def _renew(self) -> Generator[httpx.Request, httpx.Response, httpx.Response | None]:
        """The refusal, if it was refused."""
        refresh = httpx.Request("POST", self._refresh_url, json={"refresh": self._token})
        response = yield refresh
        if not response.is_success:
            return response
        self._access = response.json()["access"]
        expires = (_claims(self._access) or {}).get("exp", 0)
        self._renew_at = max(float(expires) - _RENEW_BEFORE_S, time.time() + 1.0)
        return None
