"""Programs of torch.export and OpenVINO: equal to torch, or not written."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from timm.layers import Conv2dSame

from pipeline import layout
from pipeline.deploy import openvino_export, program_export
from pipeline.deploy.model_exports import MODEL_EXPORTS
from pipeline.errors import ModelError
from pipeline.inference.onnx_export import real_images, tile_input
from pipeline.models import load_model, save_untrained
from tests.pipeline.inference.test_onnx_export import CLASSES, SIZE, save
from tests.support.model_variants import SMALL, VARIANTS

pytestmark = pytest.mark.heavy


@pytest.fixture
def workspace(make_workspace) -> Path:
    return make_workspace(3, 7)


@pytest.fixture
def folder(workspace: Path) -> Path:
    return save(workspace / layout.TEACHER, SMALL["pspnet_mini"])


def test_a_program_says_the_same_at_every_size(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "out/model.pt2"
    said = MODEL_EXPORTS["pt2"](folder, file, real_images(folder))
    assert "sides of any multiple of 32; on 8 images logits differ by at most" in said
    assert said.count("(limit 0.001)") == 2
    assert [path.name for path in file.parent.iterdir()] == ["model.pt2"]
    facts = {"model.json": ""}
    program = torch.export.load(file, extra_files=facts).module()
    told = json.loads(facts["model.json"])
    assert json.loads(told["classes"]) == CLASSES
    assert (told["normalisation"], told["height_px"], told["width_px"]) == ("symmetric", "64", "96")
    network = load_model(folder).network
    assert network is not None
    for size in (SIZE, (160, 32)):
        images_1CHW = torch.randn(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(program(images_1CHW), network(images_1CHW))


@pytest.mark.parametrize("params", VARIANTS)
@pytest.mark.slow
def test_every_model_can_be_a_program(params, workspace: Path, tmp_path: Path) -> None:
    folder = save(workspace / layout.TEACHER, params)
    MODEL_EXPORTS["pt2"](folder, tmp_path / "m.pt2", real_images(folder))
    assert (tmp_path / "m.pt2").exists()


def test_what_differs_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = program_export._program

    def other(network: torch.nn.Module, input_1CHW: torch.Tensor) -> object:
        """Of a network that learnt something else since."""
        with torch.no_grad():
            program = made(copy.deepcopy(network), input_1CHW)
            next(network.parameters()).mul_(1.5)
        return program

    monkeypatch.setattr(program_export, "_program", other)
    file = tmp_path / "model.pt2"
    file.write_bytes(b"before")
    with pytest.raises(ModelError, match=r"disagree: logits differ by at most .* is not written"):
        MODEL_EXPORTS["pt2"](folder, file, real_images(folder))
    assert file.read_bytes() == b"before"


def test_a_network_that_knows_one_size_is_written_for_it(folder: Path, tmp_path: Path) -> None:
    class OneSize(torch.nn.Module):
        def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
            assert images_BCHW.shape[-2:] == SIZE
            return images_BCHW * 2.0

    program, any_size = program_export._program(OneSize(), torch.zeros(1, 3, *SIZE))
    assert not any_size
    assert program.module()(torch.ones(1, 3, *SIZE)).max() == 2.0


def test_padding_by_size_is_traced_for_one_size() -> None:
    network = Conv2dSame(3, 3, 3, stride=2)
    assert not program_export._program(network, torch.zeros(1, 3, *SIZE)).any_size


def test_an_untrained_model_is_refused(workspace: Path, tmp_path: Path) -> None:
    save_untrained(workspace / "models/none", why="no labels")
    with pytest.raises(ModelError, match=r"not trained \(no labels\); nothing to export"):
        MODEL_EXPORTS["pt2"](workspace / "models/none", tmp_path / "m.pt2", [])


def test_openvino_is_asked_for_where_it_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ModelError, match="pip install openvino"):
        MODEL_EXPORTS["xml"](folder, tmp_path / "m.xml", real_images(folder))


class FakeOpenVino:
    """What the export asks of OpenVINO; it converts by writing, and says what torch says."""

    def __init__(self, folder: Path, harm: float) -> None:
        self.network, self.harm = load_model(folder).network, harm
        self.facts: dict[str, str] = {}

    def convert_model(self, onnx: str) -> FakeOpenVino:
        assert Path(onnx).exists()
        return self

    def set_rt_info(self, value: str, path: list[str]) -> None:
        self.facts["/".join(path)] = value

    def save_model(self, model: object, xml: str, *, compress_to_fp16: bool) -> None:
        assert not compress_to_fp16
        Path(xml).write_text("<net/>")
        Path(xml).with_suffix(".bin").write_bytes(b"weights")

    def Core(self) -> FakeOpenVino:
        return self

    def compile_model(self, xml: str, device: str, config: dict[str, str]) -> object:
        assert (device, config) == ("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        assert self.network is not None
        network = self.network
        return lambda x_BCHW: [network(torch.from_numpy(x_BCHW)).detach().numpy() + self.harm]


def test_openvino_is_written_where_it_agrees(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real library is not installed: what is around it."""
    fake = FakeOpenVino(folder, 0.0)
    monkeypatch.setattr(openvino_export, "_library", lambda: fake)
    images, out = real_images(folder), tmp_path / "out"
    assert "on 8 images logits differ" in MODEL_EXPORTS["xml"](folder, out / "m.xml", images)
    assert sorted(path.name for path in out.iterdir()) == ["m.bin", "m.xml"]
    assert fake.facts["ssl_loop/normalisation"] == "symmetric"
    with pytest.raises(ModelError, match=r"name it m\.xml"):
        MODEL_EXPORTS["xml"](folder, out / "m.ir", images)
    fake.harm = 0.01
    with pytest.raises(ModelError, match="disagree"):
        MODEL_EXPORTS["xml"](folder, tmp_path / "other/m.xml", images)
    assert not (tmp_path / "other").exists()
    assert tile_input(images[0], load_model(folder)).shape == (1, 3, *SIZE)
