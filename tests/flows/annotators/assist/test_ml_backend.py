"""Label Studio's protocol over HTTP: who may ask, how much, how many at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from flows.annotators.assist import ml_backend
from flows.annotators.assist.ml_backend import MlBackend
from pipeline.errors import AnnotationError
from tests.support.served import served

SECRET = "s3cret"


class Predicts:
    """Gives back what it is asked, or what it is told to raise."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.asked: list[Any] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, question: Any) -> dict[str, Any]:
        self.asked.append(question)
        self.go_on.wait(20)
        if self.raises:
            raise self.raises
        return {"result": [question]}


@pytest.fixture
def predicts() -> Predicts:
    return Predicts()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def url(predicts: Predicts, said: list[str]) -> Iterator[str]:
    async def listen() -> asyncio.Server:
        backend = MlBackend(secret=SECRET, predict=predicts, say=said.append)
        return await backend.listen("127.0.0.1", 0)

    with served(listen) as port:
        yield f"http://127.0.0.1:{port}"


def ask(
    url: str, path: str = "/predict", *, user: str = "ssl-loop", password: str = SECRET, **body: Any
) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.post(url + path, auth=(user, password), **(body or {"json": {}}))


def test_a_question_is_answered_as_label_studio_expects(url: str) -> None:
    assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
    assert ask(url, "/setup").json() == {"model_version": ml_backend.VERSION}
    answer = ask(url, json={"a": 1})
    assert (answer.status_code, answer.json()) == (200, {"results": [{"result": [{"a": 1}]}]})


@pytest.mark.parametrize("path", ["/setup", "/predict"])
def test_nobody_is_answered_without_the_secret(url: str, predicts: Predicts, path: str) -> None:
    assert httpx.post(url + path, json={}, trust_env=False).status_code == 401
    assert ask(url, path, password="wrong").status_code == 401
    assert ask(url, path, password="").status_code == 401
    assert ask(url, path, user="admin").status_code == 401
    for header in ("Basic", "Basic ?", "Bearer " + SECRET, "Basic czNjcmV0"):
        with httpx.Client(trust_env=False) as client:
            refused = client.post(url + path, json={}, headers={"Authorization": header})
        assert refused.status_code == 401, header
    assert predicts.asked == []


def test_other_paths_are_refused(url: str, predicts: Predicts) -> None:
    for path in ("/webhook", "/train", "/", "/predict/"):
        assert ask(url, path).status_code == 404, path
    assert predicts.asked == []


def test_a_body_has_a_limit(url: str, predicts: Predicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlBackend, "body_limit_bytes", 1000)
    assert ask(url, content=b"[" + b"1," * 600 + b"1]").status_code == 413
    assert ask(url, content=b"not json").status_code == 400
    assert ask(url, content=b"[" * 900).status_code == 400
    assert predicts.asked == []


def test_what_cannot_be_answered_is_an_error_in_words(
    url: str, predicts: Predicts, said: list[str]
) -> None:
    predicts.raises = AnnotationError("choose the class first")
    answer = ask(url)
    assert (answer.status_code, answer.json()) == (422, {"error": "choose the class first"})
    predicts.raises = RuntimeError("an engine's fault")
    assert ask(url).status_code == 500
    assert "an engine's fault" not in ask(url).text
    assert any("an engine's fault" in line for line in said)
    predicts.raises = None
    assert ask(url).status_code == 200


def test_questions_wait_for_each_other_up_to_a_number(
    url: str, predicts: Predicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ml_backend, "MAX_WAITING", 2)
    predicts.go_on.clear()
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask, url) for _ in range(6)]
        while sum(one.done() for one in answers) < 4:
            pass
        assert len(predicts.asked) == 1  # the second waits for its turn
        predicts.go_on.set()
        statuses = sorted(one.result().status_code for one in answers)
    assert statuses == [200, 200, 503, 503, 503, 503]
    assert json.loads(ask(url).text)["results"]
