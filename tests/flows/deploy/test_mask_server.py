"""`ssl-loop serve`: the pixels of predict for 20 clients at once, and every refusal."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import uvicorn

from flows.deploy.mask_server import Ask, MaskServer, ServeLimits, listening
from flows.deploy.openapi import OUTPUTS, openapi
from flows.processes.command import wait_until
from pipeline import layout
from pipeline.deploy.deployed_model import DeployedModel, ModelChoice
from pipeline.deploy.folder_run import Outputs, folder_run
from pipeline.deploy.given_images import files_named
from pipeline.deploy.one_image import answer
from pipeline.errors import DataError, ServiceError
from pipeline.stages import train_teacher
from tests.pipeline.conftest import make_workspace, tiny_params

__all__ = ["make_workspace", "tiny_params"]


@contextmanager
def running(ask: Ask, limits: ServeLimits, token: str | None = None) -> Iterator[httpx.Client]:
    """A client of a server on loopback."""
    app = MaskServer(ask, {"classes": ["a"]}, limits, token).app
    with listening("127.0.0.1", 0) as at:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=partial(server.run, sockets=[at]))
        thread.start()
        assert wait_until(lambda: server.started, 30.0)
        url = f"http://127.0.0.1:{at.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=60.0) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def echo(image: Path, output: str) -> bytes:
    """In the place of a model."""
    if image.read_bytes() == b"no image":
        raise DataError(f"{image}: not an image (PNG)")
    return output.encode() + image.read_bytes()


@pytest.mark.heavy
def test_twenty_clients_get_the_pixels_of_predict(
    make_workspace, tiny_params, tmp_path: Path
) -> None:
    root: Path = make_workspace(2, 18)
    train_teacher.run(root, tiny_params())
    images = files_named([str(root / layout.images_dir("day"))])[:20]
    choice = ModelChoice(folder=root / layout.TEACHER)
    with folder_run(choice, Outputs(out=tmp_path, confidence=True)) as run:
        run.take(images)
    model, limits = DeployedModel(choice), ServeLimits()
    together = threading.Barrier(20)

    def ask(client: httpx.Client, image: Path) -> bytes:
        together.wait()
        answered = client.post("/predict", content=image.read_bytes())
        assert answered.status_code == 200, answered.text
        assert answered.headers["content-type"] == "image/png"
        return answered.content

    def model_says(image: Path, output: str) -> bytes:
        return answer(model, image, output, limits.max_megapixels)  # type: ignore[arg-type]

    with running(model_says, limits) as client, ThreadPoolExecutor(20) as clients:
        masks = list(clients.map(partial(ask, client), images))
        for image, mask in zip(images, masks, strict=True):
            assert mask == (tmp_path / "masks" / image.name).read_bytes()
        first = images[0].read_bytes()
        confidence = client.post("/predict?output=confidence", content=first).content
        assert confidence == (tmp_path / "confidence" / images[0].name).read_bytes()
        shares = client.post("/predict?output=shares", content=first).json()
        assert list(shares) == ["ground", "square", "never"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        refused = client.post("/predict", content=first[:100])
        assert refused.status_code == 400
        assert refused.json()["error"].startswith("the body: damaged or truncated")
        limits = ServeLimits(max_megapixels=0.001)
        refused = client.post("/predict", content=first)
        assert refused.status_code == 413
        assert "megapixels" in refused.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/predict", b"no image", 400, "the body: not an image (PNG)"),
        ("POST", "/predict?output=poem", b"x", 400, "output='poem': expected mask, confidence"),
        ("POST", "/predict", b"x" * 2000, 413, "more than 0.001 MiB"),
        ("GET", "/predict", None, 405, ""),
        ("GET", "/other", None, 404, "Not Found"),
    ],
)
def test_refusals_say_what_is_wrong(
    method: str, path: str, body: bytes | None, status: int, said: str
) -> None:
    with running(echo, ServeLimits(max_mib=0.001)) as client:
        refused = client.request(method, path, content=body)
        assert refused.status_code == status
        assert said in refused.json()["error"]
        assert client.post("/predict", content=b"y").content == b"masky"


def test_a_body_of_unknown_length_is_bounded_too() -> None:
    with running(echo, ServeLimits(max_mib=0.001)) as client:
        refused = client.post("/predict", content=(b"x" * 500 for _ in range(5)))
        assert refused.status_code == 413


def test_who_sends_too_slowly_is_refused() -> None:
    def slowly() -> Iterator[bytes]:
        yield b"x"
        time.sleep(1.0)
        yield b"x"

    with running(echo, ServeLimits(body_s=0.2)) as client:
        assert client.post("/predict", content=slowly()).status_code == 408


def test_too_many_at_once_are_told_to_come_back() -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(image: Path, output: str) -> bytes:
        begun.release()
        assert go_on.wait(30)
        return echo(image, output)

    with running(slow, ServeLimits(max_clients=1)) as client, ThreadPoolExecutor(1) as clients:
        first = clients.submit(client.post, "/predict", content=b"x")
        assert begun.acquire(timeout=30)
        refused = client.post("/predict", content=b"x")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        go_on.set()
        assert first.result().status_code == 200
        assert client.post("/predict", content=b"x").status_code == 200


def test_with_a_token_it_is_asked_for() -> None:
    with running(echo, ServeLimits(), token="s3cret") as client:
        for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}):
            refused = client.post("/predict", content=b"x", headers=wrong)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert client.get("/model", headers=wrong).status_code == 401
        right = {"Authorization": "Bearer s3cret"}
        assert client.post("/predict", content=b"x", headers=right).status_code == 200
        assert client.get("/model", headers=right).json() == {"classes": ["a"]}
        assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("secret", [False, True])
def test_the_document_describes_what_is_there(secret: bool) -> None:
    server = MaskServer(echo, {}, ServeLimits(), "t" if secret else None)
    document = openapi(64.0, 50.0, secret=secret)
    offered = {
        (route.path, method.lower())
        for route in server.app.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == offered
    parameter = document["paths"]["/predict"]["post"]["parameters"][0]
    assert parameter["schema"]["enum"] == list(OUTPUTS)
    answers = document["paths"]["/predict"]["post"]["responses"]
    assert set(answers) == {"200", "400", "401", "408", "413", "503"}
    assert ("security" in document) == secret
    json.dumps(document)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"127.0.0.1:{port}: cannot.*--port"):
            listening("127.0.0.1", port)
