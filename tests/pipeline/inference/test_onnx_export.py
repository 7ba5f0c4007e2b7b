"""ONNX: equal to torch, or not written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from pipeline import layout
from pipeline.config.params import ModelParams
from pipeline.errors import DataError, ModelError
from pipeline.inference import onnx_export
from pipeline.inference.onnx_export import agreement, export_onnx, real_images
from pipeline.models import build_model, load_model, save_model, save_untrained
from pipeline.records.manifest import Sample, read_manifest, write_manifest
from tests.support.model_variants import SMALL, VARIANTS

pytestmark = pytest.mark.heavy

SIZE = (64, 96)
CLASSES = ["a", "b", "c"]


def save(folder: Path, params: ModelParams) -> Path:
    """A network whose batch norms have seen images: else deep ones give logits of hundreds."""
    torch.manual_seed(0)
    network = build_model(params, len(CLASSES)).train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(2, 3, *SIZE))
    config = {
        "model": params.model_dump(),
        "classes": CLASSES,
        "image": {"height_px": SIZE[0], "width_px": SIZE[1]},
        "normalisation": "symmetric",
        "version": "0",
    }
    save_model(folder, network, config)
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of the same network as in `folder`; exporting takes seconds."""
    folder = save(tmp_path_factory.mktemp("program"), SMALL["pspnet_mini"])
    network = load_model(folder).network
    assert network is not None
    return onnx_export._program(network, torch.zeros(1, 3, *SIZE))


@pytest.fixture
def workspace(make_workspace) -> Path:
    return make_workspace(3, 7)


@pytest.fixture
def folder(workspace: Path) -> Path:
    return save(workspace / layout.TEACHER, SMALL["pspnet_mini"])


def test_what_is_written_says_the_same_as_torch(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "model.onnx"
    said = export_onnx(folder, file, real_images(folder))
    assert "on 8 images logits differ by at most" in said
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(onnx.load(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [x.shape for x in session.get_inputs()] == [[1, 3, *SIZE]]
    assert [x.shape for x in session.get_outputs()] == [[1, 3, *SIZE]]
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == CLASSES
    assert (told["normalisation"], told["height_px"], told["width_px"]) == ("symmetric", "64", "96")


@pytest.mark.parametrize("params", VARIANTS)
@pytest.mark.slow
def test_every_model_can_be_exported(params: ModelParams, workspace: Path, tmp_path: Path) -> None:
    folder = save(workspace / layout.TEACHER, params)
    export_onnx(folder, tmp_path / "m.onnx", real_images(folder))
    assert (tmp_path / "m.onnx").exists()


def test_interpolated_positions_can_be_exported(workspace: Path, tmp_path: Path) -> None:
    folder = save(workspace / layout.TEACHER, SMALL["vit"])
    export_onnx(folder, tmp_path / "m.onnx", real_images(folder))
    assert (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda logits: logits + 2e-3, r"differ by at most 0\.002 \(limit 0\.001\), 0 of 49152"),
        (lambda logits: logits[:, ::-1], r"[1-9]\d* of 49152 pixels change"),
        (lambda logits: logits * np.nan, "differ by at most nan"),
        (lambda logits: logits[..., :-1], r"\(8, 3, 64, 95\), torch \(8, 3, 64, 96\)"),
    ],
)
def test_what_differs_is_not_written(
    harm, complaint: str, program, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = onnx_export._run
    monkeypatch.setattr(onnx_export, "_program", lambda *_: program)
    monkeypatch.setattr(onnx_export, "_run", lambda file, inputs: harm(run(file, inputs)))
    file = tmp_path / "out" / "model.onnx"
    file.parent.mkdir()
    with pytest.raises(ModelError, match=complaint):
        export_onnx(folder, file, real_images(folder))
    assert list(file.parent.iterdir()) == []
    file.write_bytes(b"before")
    with pytest.raises(ModelError, match=complaint):
        export_onnx(folder, file, real_images(folder))
    assert file.read_bytes() == b"before"


def test_a_tie_may_be_broken_either_way() -> None:
    def changed(gap: float) -> tuple[int, bool]:
        expected = np.zeros((1, 2, 1, 1), np.float32)
        expected[0, 0] = gap
        found = expected.copy()
        found[0, :, 0, 0] = [gap / 2, gap / 2 + 1e-6]
        result = agreement(expected, found)
        return result.pixels_changed, result.good

    assert changed(1e-3) == (0, True)
    assert changed(1.9e-3) == (0, True)
    assert changed(2.1e-3)[0] == 1
    assert changed(2.1e-3)[1] is False


def test_an_untrained_model_is_refused(tmp_path: Path) -> None:
    save_untrained(tmp_path / "m", why="no labels")
    with pytest.raises(ModelError, match=r"not trained \(no labels\)"):
        export_onnx(tmp_path / "m", tmp_path / "m.onnx", [])


def test_images_are_spread_over_all_there_are(workspace: Path, folder: Path) -> None:
    samples = read_manifest(workspace / layout.MANIFEST)
    assert len(samples) == 12
    expected = [workspace / samples[number * 12 // 8].image for number in range(8)]
    assert real_images(folder) == expected
    assert real_images(Path("elsewhere"), workspace=workspace) == expected
    images = workspace / layout.images_dir("day")
    assert real_images(Path("elsewhere"), images=images) == expected


def test_fewer_than_eight_images_are_refused(workspace: Path, folder: Path) -> None:
    samples: list[Sample] = read_manifest(workspace / layout.MANIFEST)
    write_manifest(workspace / layout.MANIFEST, samples[:7])
    with pytest.raises(DataError, match="7 images, expected at least 8"):
        real_images(folder)


def test_a_model_outside_of_a_workspace_needs_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in no workspace; give --images or --workspace"):
        real_images(tmp_path / "m")
