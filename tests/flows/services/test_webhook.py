"""The receiver of Label Studio's hook: secret, limits, one event for a burst."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.processes.command import wait_until
from flows.services import prefect_server, relay
from flows.services.daemon import HOST
from flows.services.prefect_server import Api
from flows.services.relay import Relay
from flows.services.webhook import PATH, SECRET_HEADER, Receiver, ids_of
from flows.workspace.credentials import SECRETS, api_key, credentials
from flows.workspace.workspace import template_file
from pipeline.errors import ServiceError
from tests.support.served import served

HOOK = {
    "action": "ANNOTATION_CREATED",
    "project": {"id": 3, "title": "day"},
    "task": {"id": 7, "data": {"image": "/data/a.png"}},
    "annotation": {"id": 9, "result": [{"value": {"rle": list(range(200))}}]},
}


class Sent(list[dict[str, Any]]):
    """A stand-in for Prefect that can be down."""

    down = False

    def __call__(self, payload: dict[str, Any]) -> None:
        if self.down:
            raise ServiceError("Prefect server at http://127.0.0.1:1: refused")
        self.append(payload)


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def hook_url(sent: Sent) -> Iterator[str]:
    receiver = Receiver(secret="s3cret", relay=Relay(sent))
    with served(lambda: receiver.listen(HOST, 0)) as port:
        yield f"http://{HOST}:{port}"


def post(url: str, secret: bytes = b"s3cret", **options: Any) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(url, headers={SECRET_HEADER.encode(): secret}, **options)


def raw(url: str, *pieces: bytes) -> bytes:
    """All that is answered to bytes that no client would send; b"" when dropped."""
    with socket.create_connection((HOST, int(url.rpartition(":")[2])), timeout=20) as connection:
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(4096):
                answer += piece
    return answer


def head(*lines: str, secret: str | None = "s3cret") -> bytes:
    known = [f"{SECRET_HEADER}: {secret}"] if secret is not None else []
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: x", *known, *lines, "", ""]).encode()


def test_hook_becomes_an_event_of_ids_alone(hook_url: str, sent: Sent) -> None:
    started = time.monotonic()
    assert post(hook_url + PATH, json=HOOK).status_code == 200
    assert time.monotonic() - started < 1.0  # what Label Studio waits, in the annotator's request
    assert wait_until(lambda: bool(sent), 5)
    assert sent == [{"action": "ANNOTATION_CREATED", "project": 3, "task": 7}]


@pytest.mark.parametrize("secret", [b"", b"wrong", b"s3cret2", b"\xfc"])
def test_wrong_secret_is_refused(hook_url: str, sent: Sent, secret: bytes) -> None:
    assert post(hook_url + PATH, secret=secret, json=HOOK).status_code == 401
    assert sent == []


def test_secret_is_asked_for(hook_url: str, sent: Sent) -> None:
    assert httpx.post(hook_url + PATH, json=HOOK, trust_env=False).status_code == 401
    assert sent == []


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("Content-Length: 99000000", secret=None), 401),
        (head("Content-Length: 99000000", secret="guess"), 401),
        (head("Content-Length: 99000000"), 413),
        (head("Content-Length: 65537"), 413),
        (head("Transfer-Encoding: chunked", secret=None), 401),
        (head("Content-Length: " + "9" * 5000), 400),
        (head("Content-Length: -1"), 400),
        (head("Content-Length: 1e3"), 400),
        (head("Content-Length: 5", "Content-Length: 6"), 400),
        (head("Transfer-Encoding: gzip"), 501),
        (head("X: " + "x" * 70_000), 431),
        (head(*["X: y"] * 10_000), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST " + PATH.encode() + b"\r\n\r\n", 400),
    ],
)
def test_refusal_comes_before_a_byte_of_the_body(
    hook_url: str, sent: Sent, capfd: pytest.CaptureFixture[str], request_head: bytes, status: int
) -> None:
    answer = raw(hook_url, request_head)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert sent == []
    assert post(hook_url + PATH, json=HOOK).status_code == 200
    assert "Traceback" not in capfd.readouterr().err


def test_chunks_are_read_up_to_the_limit(hook_url: str, sent: Sent) -> None:
    chunked = head("Transfer-Encoding: chunked")
    assert raw(hook_url, chunked, b"2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert raw(hook_url, chunked, b"ffffffffff\r\n", b"x" * 200_000).startswith(b"HTTP/1.1 413 ")
    assert raw(hook_url, chunked, b"10000000\r\n" + b"x" * 70_000).startswith(b"HTTP/1.1 413 ")
    assert raw(hook_url, chunked, b"-1\r\nxx").startswith(b"HTTP/1.1 400 ")
    assert wait_until(lambda: len(sent) == 1, 5)


@pytest.mark.parametrize("sends", [b"", b"POST", head("Content-Length: 9"), head()[:-2]])
def test_slow_client_is_dropped(
    hook_url: str, monkeypatch: pytest.MonkeyPatch, sends: bytes
) -> None:
    monkeypatch.setattr(Receiver, "request_s", 0.2)
    assert raw(hook_url, sends) == b""


def test_a_client_that_drips_has_no_longer_than_any_other(
    hook_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Receiver, "request_s", 0.3)
    port = int(hook_url.rpartition(":")[2])
    with socket.create_connection((HOST, port), timeout=20) as connection:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in head("Content-Length: 9"):
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - started < 3


def test_idle_connections_keep_nobody_out(
    hook_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Receiver, "max_connections", 4)
    port = int(hook_url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection((HOST, port), timeout=20))
        assert post(hook_url + PATH, json=HOOK).status_code == 200
    said = capfd.readouterr().err
    assert said.count("refused") == 1  # however many there were: no client fills the disk


def test_event_that_prefect_does_not_take_at_first_is_sent_again(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PAUSES_S", (0.01,) * 200)
    sent.down = True
    Relay(sent).hook({"task": 7})
    time.sleep(0.05)
    sent.down = False
    assert wait_until(lambda: bool(sent), 5)
    assert sent[0] == {"task": 7}


@pytest.mark.parametrize("error", [ServiceError("refused"), OSError("odd"), ValueError("odder")])
def test_event_that_is_lost_is_said_and_the_next_one_goes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setattr(relay, "PAUSES_S", (0.0,))
    monkeypatch.setattr(relay, "QUIET_S", 0.0)
    tried: list[dict[str, Any]] = []

    def send(payload: dict[str, Any]) -> None:
        tried.append(payload)
        if len(tried) <= 2:
            raise error

    passing = Relay(send)
    passing.hook({"task": 1})
    assert wait_until(lambda: len(tried) == 2, 5)
    passing.hook({"task": 2})
    assert wait_until(lambda: len(tried) == 3, 5)
    assert f"not delivered, the schedule will do: {error}" in capfd.readouterr().err


def test_whoever_sends_a_hook_does_not_wait_for_prefect(
    hook_url: str, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    monkeypatch.setattr(Sent, "__call__", lambda self, payload: waits.wait(20))
    started = time.monotonic()
    for _ in range(5):
        assert post(hook_url + PATH, json=HOOK).status_code == 200
    assert time.monotonic() - started < 5
    waits.set()


def test_other_paths_are_refused(hook_url: str, sent: Sent) -> None:
    assert post(hook_url + "/elsewhere", json=HOOK).status_code == 404
    assert httpx.get(hook_url + "/health", trust_env=False).status_code == 200
    assert httpx.get(hook_url + PATH, trust_env=False).status_code == 404
    assert sent == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b'{"action": {"x": 1}}',
        b'{"project": 3}',
        b"[" * 60_000,
        b'{"action": ' + b"9" * 5_000 + b"}",
        b'{"action": "\\ud800"}',
        b'{"action": "\xff"}',
        b'{"action": "' + b"A" * 60_000 + b'"}',
        b'{"action": "A B", "task": {"id": 1}}',
    ],
)
def test_unreadable_body_is_still_a_hint(
    hook_url: str, sent: Sent, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    assert post(hook_url + PATH, content=body).status_code == 200
    assert wait_until(lambda: bool(sent), 5)
    assert sent == [{}]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", ["true", "-1", "1.5", "1e400", "NaN", "9" * 30, '"1"', "null"])
def test_id_that_is_none_is_left_out(number: str) -> None:
    assert ids_of(b'{"action": "A", "task": {"id": %s}}' % number.encode()) == {"action": "A"}


def test_ids_of_a_deletion_without_task() -> None:
    assert ids_of(b'{"action": "ANNOTATIONS_DELETED", "project": {"id": 3}}') == {
        "action": "ANNOTATIONS_DELETED",
        "project": 3,
    }


def test_burst_is_one_event_and_one_more_when_its_tick_is_over(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "AGAIN_S", 0.3)
    passing = Relay(sent)
    for task in range(8):
        passing.hook({"task": task})
    assert wait_until(lambda: len(sent) == 2, 5)
    time.sleep(0.5)
    assert sent == [{"task": 0}, {"task": 7, "again": True}]


class _FakePrefect(BaseHTTPRequestHandler):
    got: list[tuple[str, Any]]
    statuses: list[int]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((self.path, body))
        self.send_response(self.statuses.pop(0))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def fake_prefect() -> Iterator[tuple[str, type[_FakePrefect]]]:
    handler = type("Handler", (_FakePrefect,), {"got": [], "statuses": []})
    server = ThreadingHTTPServer((HOST, 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://{HOST}:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_event_is_what_the_deployment_waits_for(
    fake_prefect: tuple[str, type[_FakePrefect]],
) -> None:
    url, handler = fake_prefect
    handler.statuses = [503, 204]  # SQLite was locked, then not
    prefect_server.emit(Api(url), payload={"task": 7}, timeout_s=5.0)
    path, [event] = handler.got[-1]
    assert len(handler.got) == 2
    assert path == "/api/events"
    assert (event["event"], event["payload"]) == ("ssl-loop.annotation", {"task": 7})
    text = template_file(prefect_server.DEPLOYMENT_FILE).read_text()
    assert f"expect: [{event['event']}]" in text
    assert f"prefect.resource.id: {event['resource']['prefect.resource.id']}" in text


def test_event_fails_loudly(fake_prefect: tuple[str, type[_FakePrefect]]) -> None:
    url, handler = fake_prefect
    handler.statuses = [500]
    with pytest.raises(ServiceError, match="500"):
        prefect_server.emit(Api(url), payload={}, timeout_s=0.5)
    with pytest.raises(ServiceError, match="/events"):
        prefect_server.emit(Api(f"http://{HOST}:1"), payload={}, timeout_s=0.5)


def test_secrets_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    assert credentials(tmp_path) == made
    assert (tmp_path / SECRETS).stat().st_mode & 0o777 == 0o600
    assert len(made.label_studio_token) == 40
    assert made.label_studio_password not in repr(made)
    assert credentials(tmp_path / "other").webhook_secret != made.webhook_secret


def test_unreadable_secrets_are_named(tmp_path: Path) -> None:
    credentials(tmp_path)
    (tmp_path / SECRETS).write_text('{"label_studio_email": "a@example.com"}')
    with pytest.raises(ServiceError, match=r"secrets\.json"):
        credentials(tmp_path)


def test_key_of_a_label_studio_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with pytest.raises(ServiceError, match="LABEL_STUDIO_API_KEY"):
        api_key(tmp_path)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    assert api_key(tmp_path) == "key"
