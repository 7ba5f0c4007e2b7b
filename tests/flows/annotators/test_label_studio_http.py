"""What is said when the server is not there, not Label Studio, refuses or hangs; token renewal."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from flows.annotators.label_studio_http import Http
from flows.label_studio_server import free_port
from pipeline.errors import ServiceError
from tests.label_studio_server import Server

Reply = tuple[int, str]  # status and body
Serve = Callable[[Callable[[str, str, str, str], Reply]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(reply)` starts a server that answers `reply(method, path, token, body)`."""
    servers = []

    def start(reply: Callable[[str, str, str, str], Reply]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                token = self.headers.get("Authorization", "")
                status, text = reply(self.command, self.path, token, body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = do_PATCH = _answer

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(status: int, detail: str, **more: Any) -> Reply:
    """An error as Label Studio words it."""
    body = {"status_code": status, "version": "1.23.2", "detail": detail, "exc_info": None}
    return status, json.dumps(body | more)


def jwt(**claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJl"


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ServiceError, match="expected http://HOST:PORT"):
        Http(url, "0" * 40)


@pytest.mark.parametrize("token", ["", "  ", "schlüssel"])
def test_a_token_that_is_none(token: str) -> None:
    with pytest.raises(ServiceError, match=r"no usable token.*LABEL_STUDIO_API_KEY"):
        Http("http://127.0.0.1:1", token)


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=rf"{url} cannot be reached.*ssl-loop up"):
        Http(url, "0" * 40).get("/api/projects/")


@pytest.mark.parametrize(
    "reply",
    [
        (200, "<!doctype html><title>Prefect</title>"),
        (404, '{"detail":"Not Found"}'),
        (404, "nothing here"),
        (401, "<h1>Unauthorized</h1>"),
    ],
)
def test_another_program_there(serve: Serve, reply: Reply) -> None:
    url = serve(lambda *request: reply)
    with pytest.raises(ServiceError, match=rf"not as Label Studio does; check the address {url}"):
        Http(url, "0" * 40).get("/api/projects/", title="x")


@pytest.mark.parametrize("token", ["0" * 40, jwt(token_type="refresh")])
def test_a_refused_token_says_where_to_take_one(serve: Serve, token: str) -> None:
    url = serve(lambda *request: refusal(401, "legacy token authentication has been disabled"))
    with pytest.raises(ServiceError) as caught:
        Http(url, token).get("/api/projects/")
    assert url in str(caught.value)
    assert "401: legacy token authentication has been disabled" in str(caught.value)
    assert "personal access token" in str(caught.value)
    assert token not in str(caught.value)


def test_a_refused_request_says_why(serve: Serve) -> None:
    url = serve(lambda *r: refusal(400, "Validation error", validation_errors={"title": ["long"]}))
    with pytest.raises(ServiceError, match=r'POST /api/projects/ \(400\).*"title": \["long"\]'):
        Http(url, "0" * 40).post("/api/projects/", {})


def test_a_server_that_fails_points_to_its_log(serve: Serve) -> None:
    url = serve(lambda *request: (500, "<h1>Server Error</h1>"))
    with pytest.raises(ServiceError, match=r"failed on GET /x \(500\); its log"):
        Http(url, "0" * 40).get("/x")


def test_a_server_that_hangs(serve: Serve) -> None:
    def hang(*request: str) -> Reply:
        time.sleep(2)
        return 200, "{}"

    http = Http(serve(hang), "0" * 40)
    http.client.timeout = httpx.Timeout(0.2)
    with pytest.raises(ServiceError, match="did not answer GET /x in time"):
        http.get("/x")


def test_a_connection_that_breaks(serve: Serve) -> None:
    def break_off(*request: str) -> Reply:
        raise ConnectionAbortedError

    with pytest.raises(ServiceError, match="broke during POST /x"):
        Http(serve(break_off), "0" * 40).post("/x", {})


def test_deleting_what_is_gone_is_fine_and_deleting_elsewhere_is_not(serve: Serve) -> None:
    assert not Http(serve(lambda *r: refusal(404, "No Annotation")), "0" * 40).delete("/a/1/")
    assert Http(serve(lambda *r: (204, "")), "0" * 40).delete("/a/1/")
    with pytest.raises(ServiceError, match="not as Label Studio"):
        Http(serve(lambda *r: (404, "page")), "0" * 40).delete("/a/1/")


def test_a_legacy_token_is_sent_as_such(serve: Serve) -> None:
    url = serve(lambda method, path, token, body: (200, json.dumps(token)))
    assert Http(f"{url}/", " 0123456789abcdef ").get("/x") == "Token 0123456789abcdef"


class PersonalTokens:
    """A server that sells access tokens for `life_s` and takes only the last one sold."""

    def __init__(self, life_s: float) -> None:
        self.life_s = life_s
        self.sold: list[str] = []

    def __call__(self, method: str, path: str, token: str, body: str) -> Reply:
        if path == "/api/token/refresh/":
            assert json.loads(body)["refresh"] == PERSONAL
            self.sold.append(jwt(exp=time.time() + self.life_s, number=len(self.sold)))
            return 200, json.dumps({"access": self.sold[-1]})
        if token != f"Bearer {self.sold[-1]}":
            return refusal(401, "Authentication credentials were not provided.")
        return 200, json.dumps({"sold": len(self.sold)})


PERSONAL = jwt(token_type="refresh")


def test_an_access_token_is_used_while_it_lives(serve: Serve) -> None:
    http = Http(serve(PersonalTokens(300)), PERSONAL)
    assert [http.get("/x")["sold"] for _ in range(3)] == [1, 1, 1]


def test_an_access_token_is_renewed_before_it_ends(serve: Serve) -> None:
    http = Http(serve(PersonalTokens(61.5)), PERSONAL)
    assert http.get("/x")["sold"] == 1
    time.sleep(1.6)
    assert http.get("/x")["sold"] == 2


def test_an_access_token_that_was_revoked_is_renewed(serve: Serve) -> None:
    tokens = PersonalTokens(300)
    http = Http(serve(tokens), PERSONAL)
    assert http.get("/x")["sold"] == 1
    tokens.sold.append("revoked")
    assert http.get("/x")["sold"] == 3


@pytest.mark.services
def test_the_real_server_refuses_a_wrong_token_in_words(label_studio: Server) -> None:
    with pytest.raises(ServiceError, match=r"401: Invalid token\.\); take one from"):
        Http(label_studio.url, "f" * 40).get("/api/projects/")
    with pytest.raises(ServiceError, match=r"401: Token is invalid.*; take one from"):
        Http(label_studio.url, PERSONAL).get("/api/projects/")
    with pytest.raises(ServiceError, match="not as Label Studio"):
        Http(label_studio.url + "/wrong", label_studio.token).get("/api/projects/")
