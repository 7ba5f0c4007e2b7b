"""The examples of docs/deploy.md run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from click.testing import CliRunner
from PIL import Image

from flows.cli import main
from flows.deploy.mask_server import MaskServer, ServeLimits, listening
from flows.processes.command import wait_until
from pipeline import layout
from pipeline.data.exports import EXPORTS, export_set
from pipeline.data.formats.images import load_image
from pipeline.deploy.deployed_model import DeployedModel, ModelChoice
from pipeline.deploy.one_image import answer
from pipeline.records.manifest import read_manifest
from pipeline.stages import train_teacher
from tests.pipeline.conftest import make_workspace, tiny_params
from tests.pipeline.deploy.conftest import write_video

__all__ = ["make_workspace", "tiny_params"]

pytestmark = pytest.mark.heavy

PAGE = Path(__file__).parents[1] / "docs/deploy.md"
PYTHON, SERVED, EXPORTED_TORCH, EXPORTED_ONNX, COCO = range(5)


def commands(word: str) -> list[list[str]]:
    """The page's lines `ssl-loop WORD ...`, as arguments."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for kind, block in blocks if not kind for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"ssl-loop {word} ")]


def run_example(number: int, **replaced: str) -> dict[str, Any]:
    """What the page's Python block defines."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
    for old, new in replaced.items():
        code = code.replace(f"127.0.0.1:{old.removeprefix('port_')}", f"127.0.0.1:{new}")
    defined: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), defined)
    return defined


@pytest.fixture
def here(make_workspace, tiny_params, monkeypatch) -> Path:
    """A folder with a trained model, photographs and a video, in which examples are run."""
    root: Path = make_workspace(3, 8)
    train_teacher.run(root, tiny_params())
    shutil.copytree(root / layout.images_dir("day"), root / "photos")
    shutil.copy(root / "photos/00.png", root / "photo.png")
    write_video(root / "flight.avi", [load_image(root / "photo.png")[:, :64]] * 12, rate=2.0)
    monkeypatch.chdir(root)
    return root


def test_predict(here: Path) -> None:
    found = commands("predict")
    assert len(found) == 4
    for arguments in found[1:]:  # the first is of somebody's home
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    for folder in ("masks", "overlays", "confidence"):
        assert len(list((here / "masks" / folder).iterdir())) == 13
    assert len(list((here / "few/masks").iterdir())) == 11
    assert {path.name for path in (here / "frames/masks").iterdir()} == {
        f"flight_0000{second}.000s.png" for second in (0, 2, 4)
    }


def test_python(here: Path) -> None:
    last = run_example(PYTHON)
    assert last["path"] == sorted((here / "photos").iterdir())[-1].absolute()
    assert last["mask"].shape == load_image(last["path"]).shape[:2]
    assert last["shares"].sum() == pytest.approx(1)


def test_serve(here: Path) -> None:
    (arguments,) = commands("serve")
    assert arguments == ["serve", "models/teacher", "--port", "8090"]
    model = DeployedModel(ModelChoice(folder=Path(arguments[1])))

    def ask(image: Path, output: str) -> bytes:
        return answer(model, image, output, 50.0)  # type: ignore[arg-type]

    app = MaskServer(ask, {}, ServeLimits()).app
    with listening("127.0.0.1", 0) as at:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=partial(server.run, sockets=[at]))
        thread.start()
        assert wait_until(lambda: server.started, 30.0)
        try:
            mask = run_example(SERVED, port_8090=str(at.getsockname()[1]))["mask"]
        finally:
            server.should_exit = True
            thread.join()
    CliRunner().invoke(main, ["predict", "models/teacher", "photo.png", "--out", "out"])
    np.testing.assert_array_equal(mask, np.asarray(Image.open(here / "out/masks/photo.png")))


def test_export(here: Path) -> None:
    (arguments,) = commands("export")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "sides of any multiple of 32" in done.output
    torch_says, onnx_says = run_example(EXPORTED_TORCH), run_example(EXPORTED_ONNX)
    assert torch_says["mask"].shape == (96, 128)
    assert torch_says["classes"] == ["ground", "square", "never"]
    assert onnx_says["mask"].shape == (64, 64)


def test_export_data(here: Path) -> None:
    (arguments,) = commands("export-data")
    out = Path(arguments[arguments.index("--out") + 1])
    data = export_set(
        ("ground", "square", "never"),
        read_manifest(here / layout.MANIFEST),
        lambda path: here / path,
    )
    EXPORTS[arguments[arguments.index("--format") + 1]].build(data, out, lambda: None)
    found = run_example(COCO)
    mask = data.masked[0].mask_HW(3)
    assert json.loads((out / "annotations/train.json").read_text())["images"][0]["id"] == 1
    np.testing.assert_array_equal(found["part"], mask == 0)
    assert found["name"] == "ground"
