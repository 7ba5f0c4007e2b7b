"""HTTP with Label Studio: both kinds of token, and every failure as words with a remedy.

What answers may be Label Studio, a proxy before it, a login page, or another program. The message
says which, since only one of them has the log or the limit that matters.

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
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from pipeline.errors import ServiceError

T = TypeVar("T")

TIMEOUT_S = 120.0  # 50 tasks with masks take the server about a second on two idle cores
CONNECT_TIMEOUT_S = 10.0
# An access token lives 300 s; this much before its end it is renewed.
_RENEW_BEFORE_S = 60.0
MAX_NUMBER = 2**63 - 1
_SHOWN = 300  # characters of what a stranger says


class ToolServerError(ServiceError):
    """Label Studio, or the proxy before it, failed by itself: a status of 500 or more."""

    def __init__(self, message: str, status: int) -> None:
        """`status` is that of HTTP."""
        super().__init__(message)
        self.status = status


class BodyTooLargeError(ServiceError):
    """A request was larger than the proxy or the server takes (413); a smaller one may pass."""


class Http:
    """One server with one token. Answers are JSON; everything else is a ServiceError."""

    def __init__(self, url: str, api_key: str) -> None:
        """`api_key`: a legacy token or a personal access token; which one shows in its form."""
        self.url = url.rstrip("/")
        host = _host(self.url)
        if not host:
            raise ServiceError(
                f"Label Studio's address {url!r}: expected http://HOST:PORT or https://HOST"
            )
        token = api_key.strip()
        if not token or not token.isascii() or not token.isprintable():
            raise ServiceError(f"no usable token for Label Studio at {self.url}; {_TOKEN_REMEDY}")
        # A proxy must not be asked for a server on this machine.
        is_local = host in ("127.0.0.1", "localhost", "::1")
        self.client = httpx.Client(
            base_url=self.url,
            auth=_auth(self.url, token),
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=not is_local,
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

    def content(self, path: str) -> bytes:
        """Body of a GET as it is; b"" where there is nothing (404)."""
        response = self._send("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return b""
        self._check(response)
        return response.content

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
        except (ValueError, RecursionError):
            raise ServiceError(self._no_json(response)) from None

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
        except (httpx.InvalidURL, ValueError) as error:  # what the tool gave is sent back to it
            raise ServiceError(
                f"{method} {ascii(path)[:_SHOWN]} cannot be sent to Label Studio at {self.url}: "
                f"{ascii(str(error))[:_SHOWN]}; set right there what it names"
            ) from None
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the connection to Label Studio at {self.url} broke during {method} {path} "
                f"({type(error).__name__}: {error}); try again (nothing is sent twice)"
            ) from None

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        status, said = response.status_code, f"{_asked(response)} ({response.status_code})"
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise BodyTooLargeError(self._too_large(response))
        if status in (502, 503, 504):
            raise ToolServerError(
                f"{self._who(response)} says that there is no answer to {said}: Label Studio is "
                "down, starting or overloaded; look at its log and the proxy's, and try again "
                "(nothing is sent twice)",
                status,
            )
        if response.is_server_error:
            detail = f": {_said(response)}" if _is_label_studios(response) else ""
            raise ToolServerError(
                f"Label Studio at {self.url} failed on {said}{detail}; its log says why", status
            )
        if response.is_redirect:
            raise ServiceError(self._redirected(response))
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise ServiceError(
                f"{self._who(response)} limits requests: {said}; raise its rate limit for the "
                "loop's account, or try again later (nothing is sent twice)"
            )
        if not _is_label_studios(response):
            raise ServiceError(self._not_label_studio(response))
        if status == httpx.codes.UNAUTHORIZED:
            raise ServiceError(
                f"Label Studio at {self.url} refuses the token (401: {_said(response)}); "
                f"{_TOKEN_REMEDY}"
            )
        raise ServiceError(f"Label Studio at {self.url} refuses {said}: {_said(response)}")

    def _who(self, response: httpx.Response) -> str:
        """Who answered, by its own words."""
        if _is_label_studios(response):
            return f"Label Studio at {self.url}"
        name = response.headers.get("Server", "unnamed")
        shown = "".join(c for c in name if c.isprintable() and c.isascii())[:60]
        return f"the proxy ({shown}) before Label Studio at {self.url}"

    def _too_large(self, response: httpx.Response) -> str:
        size_mb = int(response.request.headers.get("Content-Length") or 0) / 1e6
        return (
            f"{self._who(response)} takes no request of {size_mb:.1f} MB: {_asked(response)} "
            "(413). Raise the limit of body sizes there (nginx: client_max_body_size, "
            "Apache: LimitRequestBody, Label Studio itself: DATA_UPLOAD_MAX_MEMORY_SIZE), "
            "or send smaller images"
        )

    def _redirected(self, response: httpx.Response) -> str:
        target = response.headers.get("Location", "nowhere")[:_SHOWN]
        return (
            f"{_asked(response)} at {self.url} is sent on to {target!r} "
            f"({response.status_code}); the loop follows no redirect: set annotation.url in "
            "params.yaml to where Label Studio itself answers (https instead of http?), and let "
            "the loop pass any login page before it"
        )

    def _no_json(self, response: httpx.Response) -> str:
        if response.content.lstrip()[:1] not in (b"{", b"["):
            return self._not_label_studio(response)
        return (
            f"Label Studio at {self.url} answered {_asked(response)} with "
            f"{len(response.content)} bytes that are no whole JSON; a proxy may have cut them "
            "off: look at its log and Label Studio's, and try again (nothing is sent twice)"
        )

    def _not_label_studio(self, response: httpx.Response) -> str:
        where = str(response.request.url.copy_with(query=None))
        kind = response.headers.get("Content-Type", "no type").split(";")[0][:60]
        return (
            f"{where} answered {response.status_code} ({kind}), but not as Label Studio does; "
            f"check the address {self.url} (annotation.url in params.yaml): is another program "
            "or a login page there?"
        )


def expect(answer: Any, key: str, of: type[T]) -> T:
    """`answer[key]`, a value of that type; ServiceError when the answer has another shape."""
    value: Any = answer.get(key) if isinstance(answer, dict) else None
    if not _is(value, of):
        raise _other_shape(f"{key!r} to be {_named(of)}", answer)
    return value


def expect_or_none(answer: Any, key: str, of: type[T]) -> T | None:
    """As `expect`; None where the answer has the key without a value, or lacks it."""
    if isinstance(answer, dict) and answer.get(key) is None:
        return None
    return expect(answer, key, of)


def expect_list(answer: Any, key: str | None, of: type[T]) -> list[T]:
    """`answer[key]`, a list of that type (key None: the answer itself), or ServiceError."""
    value = answer
    if key is not None:
        value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, list) or not all(_is(one, of) for one in value):
        what = "the answer" if key is None else repr(key)
        raise _other_shape(f"{what} to be a list, each {_named(of)}", answer)
    return value


def seconds(value: Any) -> float | None:
    """A number of JSON's as seconds; None for anything else, and for what no float holds."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _is(value: Any, of: type) -> bool:
    # To Python True is an int, to JSON it is not; and no database has longer numbers.
    if not isinstance(value, of) or (isinstance(value, bool) and of is not bool):
        return False
    return not isinstance(value, int) or abs(value) <= MAX_NUMBER


def _named(of: type) -> str:
    return {dict: "an object", list: "a list", str: "text", int: "a whole number"}.get(
        of, of.__name__
    )


def _other_shape(expected: str, answer: Any) -> ServiceError:
    return ServiceError(
        f"Label Studio's answer has another shape: expected {expected}, got "
        f"{ascii(answer)[:_SHOWN]}; a proxy or another version of Label Studio may answer: look "
        "at its log, and try again (nothing is sent twice)"
    )


def _host(url: str) -> str | None:
    """The host of an address one can ask; None when it is none."""
    try:
        parts, port = urlsplit(url), httpx.URL(url).port
    except (ValueError, httpx.InvalidURL):
        return None
    usable = parts.scheme in ("http", "https") and (port is None or 0 < port < 65536)
    return parts.hostname if usable else None


def _asked(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url.path}"


_TOKEN_REMEDY = (
    "take one from Label Studio's page 'Account & Settings' (a personal access token; a legacy "
    "token only where the organization allows them) and set it as LABEL_STUDIO_API_KEY"
)


def _is_label_studios(response: httpx.Response) -> bool:
    """Its errors are JSON with a status_code or a detail; a stranger's page is not."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
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
    except (binascii.Error, ValueError, RecursionError):
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
        try:
            access = expect(response.json(), "access", str)
        except (ValueError, RecursionError):
            raise ServiceError(
                f"{self._refresh_url} answered without an access token "
                f"({ascii(response.text)[:_SHOWN]}); is another program or a login page there?"
            ) from None
        life = seconds((_claims(access) or {}).get("exp")) or 0.0
        self._access = access
        self._renew_at = max(life - _RENEW_BEFORE_S, time.time() + 1.0)
        return None
