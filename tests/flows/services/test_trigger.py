"""`ssl-loop run` asks the workspace's own server, whatever the environment says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.services import prefect_server
from flows.services.trigger import trigger
from pipeline.errors import ServiceError

Asked = list[tuple[str, str | None]]


@contextmanager
def server(state: str = "COMPLETED") -> Iterator[tuple[int, Asked]]:
    """Answers as Prefect does; what it was asked for, and with which login."""
    asked: Asked = []
    logs = [{"timestamp": "2026-11-28T10:00:00Z", "message": "taking in"}]
    answers: dict[str, Any] = {
        "/api/deployments/name/ssl-loop/ssl-loop": {"id": "d"},
        "/api/deployments/d/create_flow_run": {"id": "f", "name": "calm-owl"},
        "/api/flow_runs/f": {
            "name": "calm-owl",
            "state": {"type": state, "name": state.title(), "message": "why"},
        },
    }

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers.get(self.path, [])
            if self.path == "/api/logs/filter" and logs:
                answer = [logs.pop()]
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield http.server_port, asked
        http.shutdown()


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_API_AUTH_STRING"])
def test_the_environment_of_another_workspace_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with server() as (own, asked), server() as (other, foreign):
        prefect_server.write_settings(tmp_path, own, "own-password")
        monkeypatch.setenv("PREFECT_API_KEY", "a-key-of-elsewhere")
        monkeypatch.setenv(name, f"http://127.0.0.1:{other}/api")
        said: list[str] = []
        assert trigger(tmp_path, wait=True, on_line=said.append) == "run calm-owl: Completed"
    assert said == ["10:00:00 taking in"]
    assert foreign == []
    assert len(asked) >= 4
    assert {"Bearer a-key-of-elsewhere", None} & {login for _, login in asked} == set()


def test_a_failed_run_and_a_workspace_without_a_server_are_said(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="ssl-loop up"):
        trigger(tmp_path, wait=True, on_line=print)
    with server("FAILED") as (own, _):
        prefect_server.write_settings(tmp_path, own, "own-password")
        assert trigger(tmp_path, wait=False, on_line=print) == "run calm-owl created"
        with pytest.raises(ServiceError, match="Failed: why"):
            trigger(tmp_path, wait=True, on_line=print)
