"""Whole images through an exported model: the pixels of our own prediction, by another writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from pipeline import layout
from pipeline.config.params import parse_params
from pipeline.data.dataset import ImageStore
from pipeline.inference import onnx_predict, tiles
from pipeline.inference.logits import pick_device, views_of
from pipeline.inference.onnx_export import TIE, export_onnx
from pipeline.inference.onnx_predict import OnnxModel, resize
from pipeline.inference.strips import strips_of
from pipeline.models import load_model
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.stages import predict, train_teacher
from tests.pipeline.conftest import TINY_PARAMS, add_sample

pytestmark = pytest.mark.heavy

SIZES = [(100, 150), (150, 100), (64, 64), (50, 40), (96, 210)]
PLAN = [("pool", True)] * 3 + [("pool", False)] * 7
MODELS = {"network": "pspnet_mini", "probe": "probe"}
TIES = {"network": TIE, "probe": 2e-2}  # a probe's features are kept in half precision


@pytest.fixture(scope="module", params=[("network", 0.7), ("network", None), ("probe", 1.0)])
def case(request: pytest.FixtureRequest) -> tuple[str, float | None]:
    """A model and its scale; None = squeezed."""
    return request.param


@pytest.fixture(scope="module")
def kind(case: tuple[str, float | None]) -> str:
    return case[0]


@pytest.fixture(scope="module")
def exported(case: tuple[str, float | None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained workspace's predictions, and beside them what was exported."""
    kind, scale = case
    root = tmp_path_factory.mktemp(kind)
    samples = [
        add_sample(root, f"day/{n:02}", split, n, masked=masked, size=SIZES[n % len(SIZES)])
        for n, (split, masked) in enumerate(PLAN)
    ]
    write_manifest(root / layout.MANIFEST, samples)
    blocks = {
        "image": {"height_px": 64, "width_px": 96, "scale": scale},
        "model": {**TINY_PARAMS["model"], "name": MODELS[kind]},
        "train": {**TINY_PARAMS["train"], "steps": 30},
        "method": {"name": "supervised"},
    }
    params = parse_params({**TINY_PARAMS, **blocks})
    for stage in (train_teacher, predict):
        stage.run(root, params)
    export_onnx(root / layout.TEACHER, root / "teacher.onnx", images_of(root)[:8])

    return root


def images_of(root: Path) -> list[Path]:
    return [root / sample.image for sample in read_manifest(root / layout.MANIFEST)]


def test_masks_are_those_that_the_stage_wrote(exported: Path, kind: str) -> None:
    model, pixels = OnnxModel(exported / "teacher.onnx"), 0
    for sample in read_manifest(exported / layout.MANIFEST):
        logits_KHW = model.logits(np.asarray(Image.open(exported / sample.image)))
        with Image.open(
            exported / layout.sample_png(layout.PSEUDO_LABELS, sample.sample_id)
        ) as written:
            ours_HW = np.asarray(written)
        assert logits_KHW.shape[1:] == ours_HW.shape
        ranked_KHW = np.sort(logits_KHW, axis=0)
        clear_HW = ranked_KHW[-1] - ranked_KHW[-2] >= TIES[kind]
        pixels += np.count_nonzero(clear_HW)
        assert np.array_equal(logits_KHW.argmax(axis=0)[clear_HW], ours_HW[clear_HW])
    total = sum(np.prod(SIZES[n % len(SIZES)]) for n in range(len(PLAN)))
    assert pixels > 0.9 * total


def test_logits_are_those_of_our_tiles(exported: Path) -> None:
    """Of the network as it is; test_kept_features holds what is rounded to it."""
    model, found = load_model(exported / layout.TEACHER), OnnxModel(exported / "teacher.onnx")
    store = ImageStore(exported, model.image, cache_mib=0)
    samples = read_manifest(exported / layout.MANIFEST)
    for sample, bands in views_of(model, [model.network], samples, store, pick_device("cpu")):
        image_HWC = np.asarray(Image.open(exported / sample.image))
        logits_KHW = found.logits(image_HWC)
        for rows, logits in strips_of(bands, image_HWC.shape[:2]):
            expected_KRW = logits[model.network].numpy()
            np.testing.assert_allclose(logits_KHW[:, rows], expected_KRW, atol=1e-3)


@pytest.mark.programs
def test_as_a_program_it_needs_nothing_of_ours(exported: Path, tmp_path: Path) -> None:
    copied = tmp_path / "anywhere.py"
    copied.write_text(Path(onnx_predict.__file__).read_text())
    image = images_of(exported)[0]
    out = tmp_path / "mask.png"
    program = [sys.executable, "-I", copied, exported / "teacher.onnx", image, out]
    watched = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="
    watched += "'__main__'); assert not {'torch', 'pipeline'} & set(sys.modules)"
    subprocess.run([program[0], "-I", "-c", watched, *program[2:]], check=True, cwd=tmp_path)
    logits_KHW = OnnxModel(exported / "teacher.onnx").logits(np.asarray(Image.open(image)))
    assert np.array_equal(np.asarray(Image.open(out)), logits_KHW.argmax(axis=0))


@pytest.mark.parametrize("side", [1, 31, 64, 65, 160, 500, 1080])
@pytest.mark.parametrize("tile", [32, 64, 256])
def test_tiles_begin_where_ours_do(side: int, tile: int) -> None:
    assert onnx_predict.starts(side, tile) == tiles.starts(side, tile)
    assert (onnx_predict.OVERLAP, onnx_predict.STRIDE_PX) == (tiles.OVERLAP, tiles.STRIDE_PX)


@pytest.mark.parametrize("size", [(7, 9), (13, 30), (3, 4), (7, 4), (1, 1)])
def test_logits_are_resized_as_torch_does(size: tuple[int, int]) -> None:
    logits_KHW = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(
        logits_KHW[None], size, mode="bilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(resize(logits_KHW.numpy(), size), expected.numpy(), atol=1e-5)


def test_a_file_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["images"], ["logits"])
    graph = onnx.helper.make_graph([node], "g", [value], [other])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    made.ir_version = 9
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"no classes, mean, .*by `ssl-loop export`"):
        OnnxModel(tmp_path / "m.onnx")
