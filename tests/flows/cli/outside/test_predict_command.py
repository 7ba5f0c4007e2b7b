"""`ssl-loop predict`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from pipeline import layout
from pipeline.stages import predict, train_teacher
from tests.pipeline.conftest import make_workspace, tiny_params

__all__ = ["make_workspace", "tiny_params"]


pytestmark = pytest.mark.heavy  # each trains a tiny network


def ssl_loop(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def root(make_workspace, tiny_params) -> Path:
    root: Path = make_workspace(2, 3)
    train_teacher.run(root, tiny_params())
    return root


def test_a_folder_of_images(root: Path, tiny_params, tmp_path: Path) -> None:
    predict.run(root, tiny_params())
    images, out = root / layout.images_dir("day"), tmp_path / "out"
    done = ssl_loop("predict", root / layout.TEACHER, images, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["predicted"], found["failed"]) == (7, [])
    assert list(found["shares"]) == ["ground", "square", "never"]
    for label in (root / layout.PSEUDO_LABELS / "day").glob("*.png"):
        assert (out / "masks" / label.name).read_bytes() == label.read_bytes()
    again = ssl_loop("predict", root / layout.TEACHER, images, "--out", out)
    assert "0 predicted, 7 were there" in again.stdout


def test_what_failed_is_in_the_exit_code(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / layout.images_dir("day"), tmp_path / "in")
    (tmp_path / "in/00.png").write_text("no image")
    out = tmp_path / "out"
    done = ssl_loop("predict", root / layout.TEACHER, tmp_path / "in", "--out", out, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["predicted"] == 6
    assert found["failed"] == [
        {"image": str(tmp_path / "in/00.png"), "why": found["failed"][0]["why"]}
    ]
    assert "not an image" in done.stderr


def test_an_untrained_model_is_refused(make_workspace, tiny_params, tmp_path: Path) -> None:
    root: Path = make_workspace(0, 1, name="empty")
    train_teacher.run(root, tiny_params())
    images = root / layout.images_dir("day")
    refused = ssl_loop("predict", root / layout.TEACHER, images, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert "the model is not trained" in refused.output
