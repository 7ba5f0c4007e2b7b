"""The receiver of Label Studio's hook: secret, loudness, one event for a burst."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import prefect_server, webhook
from flows.credentials import SECRETS, api_key, credentials
from flows.daemons import HOST
from flows.prefect_server import Api
from flows.webhook import PATH, SECRET_HEADER, Receiver, Relay, ids_of
from flows.workspace import template_file
from pipeline.errors import ServiceError

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
    receiver = Receiver(0, secret="s3cret", relay=Relay(sent))
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://{HOST}:{receiver.server_address[1]}"
    receiver.shutdown()
    receiver.server_close()
    thread.join()


def post(url: str, secret: bytes = b"s3cret", **options: Any) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(url, headers={SECRET_HEADER.encode(): secret}, **options)


def test_hook_becomes_an_event_of_ids_alone(hook_url: str, sent: Sent) -> None:
    started = time.monotonic()
    assert post(hook_url + PATH, json=HOOK).status_code == 200
    assert time.monotonic() - started < 1.0  # what Label Studio waits, in the annotator's request
    assert sent == [{"action": "ANNOTATION_CREATED", "project": 3, "task": 7}]


@pytest.mark.parametrize("secret", [b"", b"wrong", b"s3cret2", b"\xfc"])
def test_wrong_secret_is_refused(hook_url: str, sent: Sent, secret: bytes) -> None:
    assert post(hook_url + PATH, secret=secret, json=HOOK).status_code == 401
    assert sent == []


def test_secret_is_asked_for(hook_url: str, sent: Sent) -> None:
    assert httpx.post(hook_url + PATH, json=HOOK, trust_env=False).status_code == 401
    assert sent == []


def test_event_that_prefect_does_not_take_is_an_error_for_the_sender(
    hook_url: str, sent: Sent
) -> None:
    sent.down = True
    answer = post(hook_url + PATH, json=HOOK)
    assert answer.status_code == 502
    assert "refused" in answer.json()["why"]
    sent.down = False  # and the failure is not taken for a burst
    assert post(hook_url + PATH, json=HOOK).status_code == 200
    assert len(sent) == 1


def test_other_paths_and_oversized_bodies_are_refused(
    hook_url: str, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post(hook_url + "/elsewhere", json=HOOK).status_code == 404
    assert httpx.get(hook_url + "/health", trust_env=False).status_code == 200
    monkeypatch.setattr(webhook, "BODY_LIMIT_BYTES", 10)
    assert post(hook_url + PATH, json=HOOK).status_code == 413
    assert sent == []


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'"text"', b'{"action": {"x": 1}}', b'{"project": 3}']
)
def test_unreadable_body_is_still_a_hint(hook_url: str, sent: Sent, body: bytes) -> None:
    assert post(hook_url + PATH, content=body).status_code == 200
    assert sent == [{}]


def test_ids_of_a_deletion_without_task() -> None:
    assert ids_of(b'{"action": "ANNOTATIONS_DELETED", "project": {"id": 3}}') == {
        "action": "ANNOTATIONS_DELETED",
        "project": 3,
    }


def test_burst_is_one_event_and_one_more_when_its_tick_is_over(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "AGAIN_S", 0.3)
    relay = Relay(sent)
    for task in range(8):
        relay.hook({"task": task})
    assert sent == [{"task": 0}]
    time.sleep(0.8)
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
