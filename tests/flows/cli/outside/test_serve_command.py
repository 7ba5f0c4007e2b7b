"""`ssl-loop serve` as people start and end it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.processes.command import child_environment
from pipeline import layout
from pipeline.stages import train_teacher
from tests.pipeline.conftest import make_workspace, tiny_params

__all__ = ["make_workspace", "tiny_params"]


@pytest.mark.programs
@pytest.mark.heavy
def test_it_answers_until_it_is_interrupted(make_workspace, tiny_params, tmp_path: Path) -> None:
    root: Path = make_workspace(2, 3)
    train_teacher.run(root, tiny_params())
    image = root / layout.images_dir("day") / "00.png"
    model = str(root / layout.TEACHER)
    command = [sys.executable, "-m", "flows.cli", "serve", model, "--port", "0"]
    environment = child_environment(SSL_LOOP_SERVE_TOKEN="s3cret")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[4]
    ) as server:
        assert server.stdout is not None
        try:
            url = re.match(r"(http://127\.0\.0\.1:\d+)/predict", server.stdout.readline())
            assert url is not None
            with httpx.Client(base_url=url[1], timeout=120) as client:
                assert client.post("/predict", content=image.read_bytes()).status_code == 401
                client.headers["Authorization"] = "Bearer s3cret"
                mask = client.post("/predict", content=image.read_bytes()).content
                assert client.get("/model").json()["classes"] == ["ground", "square", "never"]
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
        finally:
            server.kill()
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["predict", model, str(image), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert mask == (out / "masks/00.png").read_bytes()
