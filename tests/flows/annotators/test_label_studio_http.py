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

from flows.annotators.label_studio_http import (
    BodyTooLargeError,
    Http,
    ToolServerError,
    expect,
    expect_list,
)
from flows.services.label_studio_server import free_port
from pipeline.errors import ServiceError
from tests.support.label_studio_server import Server

Reply = tuple[int, str] | tuple[int, str, dict[str, str]]  # status, body, headers
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
                status, text, *headers = reply(self.command, self.path, token, body)
                self.send_response_only(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = do_PATCH = _answer

            def log_message(self, format: str, *args: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
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


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://host", "http://", "http://[::1", "http://h:99999", "http://h:x"],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ServiceError, match="expected http://HOST:PORT"):
        Http(url, "0" * 40)


@pytest.mark.parametrize("token", ["", "  ", "schlüssel", "ab\ncd"])
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


NGINX = {"Server": "nginx/1.27.0", "Content-Type": "text/html"}


def test_a_body_that_the_proxy_does_not_take_names_its_limit_and_the_size(serve: Serve) -> None:
    url = serve(lambda *request: (413, "<h1>413 Request Entity Too Large</h1>", NGINX))
    with pytest.raises(BodyTooLargeError) as caught:
        Http(url, "0" * 40).post("/api/projects/1/import", ["x" * 1_200_000])
    said = str(caught.value)
    assert f"the proxy (nginx/1.27.0) before Label Studio at {url}" in said
    assert "1.2 MB" in said
    assert "client_max_body_size" in said


def test_a_body_that_label_studio_itself_does_not_take_names_its_own_setting(serve: Serve) -> None:
    url = serve(lambda *request: refusal(413, "Request body exceeded the limit"))
    with pytest.raises(BodyTooLargeError, match=r"^Label Studio at .*DATA_UPLOAD_MAX_MEMORY_SIZE"):
        Http(url, "0" * 40).upload("/import", [("0", ("a.png", b"x" * 1000))])


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_a_server_behind_it_is_named(serve: Serve, status: int) -> None:
    url = serve(lambda *request: (status, "<h1>Bad Gateway</h1>", NGINX))
    with pytest.raises(ToolServerError, match=r"the proxy \(nginx/1.27.0\).*down, start") as caught:
        Http(url, "0" * 40).get("/x")
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ((302, "", {"Location": "/user/login/?next=/x"}), r"sent on to '/user/login.*302.*login"),
        ((301, "", {"Location": "https://ls.example/x"}), r"https instead of http"),
        ((307, ""), r"307"),
        ((429, "slow down", NGINX), r"the proxy \(nginx/1.27.0\).*limits requests.*429"),
        ((200, "<html>Sign in</html>", NGINX), r"200 \(text/html\).*login page"),
        ((200, ""), r"answered 200 \(no type\), but not as Label Studio"),
        ((200, '{"tasks": [{"id": 1}, {"i'), r"25 bytes that are no whole JSON"),
        ((200, "[" * 100_000), r"100000 bytes that are no whole JSON"),
        ((200, "{}", {"Content-Length": "999"}), r"broke during GET /x"),
        ((200, "{}", {"Content-Encoding": "gzip"}), r"broke during GET /x"),
        (refusal(500, "division by zero"), r"failed on GET /x \(500\): division by zero"),
        ((404, "[" * 100_000), "not as Label Studio"),
    ],
)
def test_what_stands_between_is_named(serve: Serve, reply: Reply, complaint: str) -> None:
    url = serve(lambda *request: reply)
    with pytest.raises(ServiceError, match=complaint):
        Http(url, "0" * 40).get("/x")


@pytest.mark.parametrize(
    "reply", [(200, "<html>Sign in</html>"), (200, "{}"), (200, '{"access": 7}'), (200, "[")]
)
def test_a_renewal_that_gives_no_token_is_refused_in_words(serve: Serve, reply: Reply) -> None:
    with pytest.raises(ServiceError, match=r"answered without an access token|access.*be text"):
        Http(serve(lambda *request: reply), PERSONAL).get("/x")


def test_an_access_token_without_a_time_is_used_at_once(serve: Serve) -> None:
    def reply(method: str, path: str, token: str, body: str) -> Reply:
        return 200, json.dumps({"access": jwt(exp="soon"), "seen": token})

    assert Http(serve(reply), PERSONAL).get("/x")["seen"].startswith("Bearer ")


@pytest.mark.parametrize(
    "answer",
    [None, [], "text", {}, {"total": "3"}, {"total": None}, {"total": True}, {"total": 1.5}],
)
def test_an_answer_of_another_shape_is_refused_in_words(answer: Any) -> None:
    with pytest.raises(ServiceError, match="expected 'total' to be a whole number, got"):
        expect(answer, "total", int)


@pytest.mark.parametrize(
    "answer", [None, {}, {"tasks": None}, {"tasks": {}}, {"tasks": [{}, 3]}, {"tasks": "\ud800"}]
)
def test_a_list_of_other_things_is_refused_in_words(answer: Any) -> None:
    with pytest.raises(ServiceError, match="expected 'tasks' to be a list, each an object, got"):
        expect_list(answer, "tasks", dict)


def test_an_answer_of_the_right_shape_is_given_as_it_is() -> None:
    assert expect({"total": 3}, "total", int) == 3
    assert expect_list({"tasks": [{"id": 1}]}, "tasks", dict) == [{"id": 1}]
    assert expect_list([1, 2], None, int) == [1, 2]


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
