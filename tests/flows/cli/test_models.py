"""`ssl-loop models` and `ssl-loop export`."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from flows.cli import main
from pipeline import layout
from pipeline.config.params import ModelParams
from pipeline.errors import ModelError
from pipeline.files import sha256_file
from pipeline.inference import onnx_export
from pipeline.models import MODELS, build_encoder, profile
from pipeline.runtime.weights_folder import VARIABLE
from tests.pipeline.conftest import add_sample, make_workspace

__all__ = ["make_workspace"]

PARAMS = """\
classes: [a, b, c]
image: {height_px: 64, width_px: 96}
model: {name: pspnet, encoder: tu-test_efficientnet}
"""


def ssl_loop(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def workspace(make_workspace) -> Path:
    root = make_workspace(3, 7)
    (root / layout.PARAMS).write_text(PARAMS)
    return root


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "MEASURED_S", 0.0)


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_all_models_are_listed_with_what_they_cost(workspace: Path) -> None:
    result = ssl_loop("models", "--json", "--fps", "0.01", "-w", workspace)
    assert result.exit_code == 0, result.output
    found = {row["model"]: row for row in json.loads(result.stdout)}
    assert list(found) == list(MODELS)
    assert all(row["keeps_up"]["cpu"] for row in found.values())
    assert all(min(row["parameters"], row["flops"]) > 0 for row in found.values())
    assert found["unet"]["encoder"] == "tu-test_efficientnet"
    assert found["ddrnet39"]["encoder"] == "(own)"
    assert f"{len(MODELS)}/{len(MODELS)}" in result.stderr


def test_the_table_says_what_was_measured(workspace: Path) -> None:
    result = ssl_loop("models", "--only", "pspnet", "--fps", "1e9", "-w", workspace)
    assert result.exit_code == 0, result.output
    assert "64x96 pixels, 3 classes, 1e+09 frames per second" in result.stdout
    row = next(line for line in result.stdout.splitlines() if "pspnet" in line)
    assert "tu-test_efficientnet" in row
    assert row.rstrip(" │").endswith("no")


def test_outside_of_a_workspace_the_defaults_count(tmp_path: Path) -> None:
    result = ssl_loop("models", "--only", "pspnet", "-w", tmp_path)
    assert "96x128 pixels, 19 classes" in result.stdout


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    result = ssl_loop("models", "--only", "alexnet", "-w", tmp_path)
    assert result.exit_code == 1
    assert "'alexnet': unknown model; known: unet" in result.output


def test_a_model_is_exported(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def export_onnx(folder: Path, file: Path, images: list[Path]) -> str:
        seen.extend([folder, file, len(images)])
        return "written"

    monkeypatch.setattr(onnx_export, "export_onnx", export_onnx)
    folder, file = workspace / layout.TEACHER, tmp_path / "m.onnx"
    folder.mkdir(parents=True)
    result = ssl_loop("export", folder, "--onnx", file)
    assert (result.exit_code, result.stdout) == (0, "written\n")
    assert seen == [folder, file, 8]


def test_nothing_to_write_is_refused(workspace: Path) -> None:
    (folder := workspace / layout.TEACHER).mkdir(parents=True)
    refused = ssl_loop("export", folder)
    assert refused.exit_code == 2
    assert "--onnx FILE, --torch FILE or --openvino FILE" in refused.output


def test_what_cannot_be_compared_is_refused(workspace: Path, tmp_path: Path) -> None:
    (folder := workspace / layout.TEACHER).mkdir(parents=True)
    add_sample(tmp_path, "dusk/1", "pool", 1, masked=False)
    images = tmp_path / layout.images_dir("dusk")
    refused = ssl_loop("export", folder, "--onnx", tmp_path / "n.onnx", "--images", images)
    assert refused.exit_code == 1
    assert "1 images, expected at least 8" in refused.output
    assert not (tmp_path / "n.onnx").exists()


def test_the_numbers_of_a_disagreement_are_shown(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := workspace / layout.TEACHER).mkdir(parents=True)

    def export_onnx(*_: object) -> str:
        raise ModelError(str(onnx_export.Agreement(0.25, 3, 100)))

    monkeypatch.setattr(onnx_export, "export_onnx", export_onnx)
    refused = ssl_loop("export", folder, "--onnx", tmp_path / "n.onnx")
    assert refused.exit_code == 1
    assert "differ by at most 0.25 (limit 0.001), 3 of 100 pixels" in refused.output


@pytest.fixture
def weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "machine"))
    encoder = build_encoder(ModelParams(encoder="tu-test_efficientnet"))
    save_file(encoder.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_weights_are_added_for_the_workspaces_encoder_and_listed(
    workspace: Path, weights_file: Path
) -> None:
    nothing = ssl_loop("weights", "list")
    assert "no weights; `ssl-loop weights fetch NAME` or `add FILE`" in nothing.stdout
    result = ssl_loop("weights", "add", weights_file, "-w", workspace)
    assert result.exit_code == 0, result.output
    sha256 = sha256_file(weights_file)
    assert f"weights of tu-test_efficientnet, SHA-256 {sha256}" in result.stdout
    (row,) = json.loads(ssl_loop("weights", "list", "--json").stdout)
    assert (row["encoder"], row["sha256"], row["source"]) == (
        "tu-test_efficientnet",
        sha256,
        "file",
    )
    assert str(weights_file) in ssl_loop("weights", "list").stdout


def test_weights_of_another_encoder_are_refused(workspace: Path, weights_file: Path) -> None:
    result = ssl_loop(
        "weights", "add", weights_file, "--encoder", "tu-test_resnet", "-w", workspace
    )
    assert result.exit_code == 1
    assert "does not fit encoder 'tu-test_resnet'" in result.stderr
    assert json.loads(ssl_loop("weights", "list", "--json").stdout) == []


def test_weights_of_no_hub_are_one_line(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no network here")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    result = ssl_loop("weights", "fetch", "tu-test_efficientnet", "--revision", "abc")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "no network here; check the network, or `ssl-loop weights add FILE" in line
