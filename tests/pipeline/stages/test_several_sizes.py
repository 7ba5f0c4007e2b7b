"""A round over images of five sizes, upright and lying, in crops and tiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline import layout
from pipeline.config.params import Params, parse_params
from pipeline.data.dataset import ImageStore, read_seen
from pipeline.data.formats.images import load_mask
from pipeline.inference.onnx_export import export_onnx
from pipeline.inference.tiles import TileSettings, tiled
from pipeline.metrics.iou import confusion_matrix, iou_per_class
from pipeline.models import load_model
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.records.query import read_query
from pipeline.records.regions import Box
from pipeline.shift.forward import Picture
from pipeline.shift.of_workspace import Asked, shift
from pipeline.stages import acquire, embed, evaluate, predict, train_baseline, train_teacher
from tests.pipeline.conftest import TINY_PARAMS, add_sample
from tests.support.whole_logits import logits_of, whole

pytestmark = pytest.mark.heavy

SIZES = [(60, 70), (70, 60), (100, 150), (64, 64), (90, 40)]
PLAN = [("pool", True)] * 3 + [("pool", False)] * 7 + [("val", True)] * 3
SCALES = [1.0, 0.5]


def lay_out(root: Path) -> None:
    samples = [
        add_sample(root, f"day/{n:02}", split, n, masked=masked, size=SIZES[n % len(SIZES)])
        for n, (split, masked) in enumerate(PLAN)
    ]
    write_manifest(root / layout.MANIFEST, samples)


def params_at(scale: float, **blocks: dict[str, object]) -> Params:
    image = {"height_px": 64, "width_px": 64, "scale": scale}
    return parse_params({**TINY_PARAMS, "image": image, **blocks})


@pytest.fixture(scope="module")
def after_a_round(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """The workspace at a scale after every stage of a round, made once; do not change it."""
    made: dict[float, Path] = {}

    def at(scale: float) -> Path:
        if scale not in made:
            made[scale] = root = tmp_path_factory.mktemp("sizes")
            lay_out(root)
            for stage in (embed, train_baseline, train_teacher, evaluate, predict, acquire):
                stage.run(root, params_at(scale))
        return made[scale]

    return at


@pytest.mark.parametrize("scale", SCALES)
def test_predictions_have_each_images_own_size(after_a_round, scale: float) -> None:
    root = after_a_round(scale)
    names = pd.read_parquet(root / layout.SCORES).sample_id.tolist()
    assert names == [f"day/{n:02}" for n, (split, _) in enumerate(PLAN) if split == "pool"]
    for n, name in enumerate(names):
        for folder in predict.FOLDERS:
            with Image.open(root / layout.sample_png(folder, name)) as image:
                assert (image.height, image.width) == SIZES[n % len(SIZES)]
    assert (root / layout.QUERY).read_text().count("day/") >= 2


@pytest.mark.parametrize("scale", SCALES)
def test_the_iou_is_that_of_the_tiles_put_together(after_a_round, scale: float) -> None:
    """Written a second time: a sample's tiles, their mean, its own size, the counts."""
    root = after_a_round(scale)
    model = load_model(root / layout.TEACHER)
    counts_KK = torch.zeros(3, 3, dtype=torch.int64)
    for sample in read_manifest(root / layout.MANIFEST):
        if sample.split != "val":
            continue
        pixels = read_seen(root / sample.image, model.image)
        settings = TileSettings((64, 64), "imagenet", torch.device("cpu"))
        [found] = [whole(bands) for _, bands in tiled([(0, pixels)], [model.network], settings)]
        mask_HW = load_mask(root / sample.mask, 3)
        logits = torch.nn.functional.interpolate(
            found[model.network][None], mask_HW.shape, mode="bilinear", align_corners=False
        )
        counts_KK += confusion_matrix(logits[0].argmax(0), torch.tensor(mask_HW), 3)
    written = json.loads((root / layout.EVALUATION).read_text())["teacher"]["day"]["val"]
    for name, iou in zip(("ground", "square"), iou_per_class(counts_KK), strict=False):
        assert written["iou"][name] == pytest.approx(iou, abs=1e-5)


def test_the_model_is_used_as_it_was_trained(after_a_round) -> None:
    root = after_a_round(1.0)
    model = load_model(root / layout.TEACHER)
    assert model.image.scale == 1.0
    store = ImageStore(root, model.image, cache_mib=0)
    samples = read_manifest(root / layout.MANIFEST)
    found = list(logits_of(model, samples, store, torch.device("cpu")))
    sizes = [SIZES[n % len(SIZES)] for n in range(len(PLAN))]
    assert [logits_KHW.shape[-2:] for _, logits_KHW in found] == sizes


def test_an_older_model_still_sees_images_squeezed(after_a_round) -> None:
    root = after_a_round(1.0)
    model = load_model(root / layout.TEACHER)
    del model.config["image"]["scale"]  # as in a workspace from before crops and tiles
    store = ImageStore(root, model.image, cache_mib=0)
    found = logits_of(model, read_manifest(root / layout.MANIFEST), store, torch.device("cpu"))
    assert {tuple(logits_KHW.shape[-2:]) for _, logits_KHW in found} == {(64, 64)}


def test_regions_are_asked_for_in_images_of_any_size(tmp_path: Path) -> None:
    lay_out(tmp_path)
    asked = params_at(
        1.0,
        acquire={"query_unit": "region", "region_size_px": 16, "query_size": 6},
        loop={"budget": 100},
    )
    for stage in (embed, train_teacher, predict, acquire):
        stage.run(tmp_path, asked)
    rows = read_query(tmp_path / layout.QUERY)
    assert len(rows) == 6
    for row in rows:
        (box,) = row.regions
        height, width = SIZES[int(row.sample_id.removeprefix("day/")) % len(SIZES)]
        assert Box(0, 0, width, height).holds(box)
        # A sixteenth of the image, as 16 pixels of a crop of 64 are.
        assert abs(box.width - width / 4) < 1
        assert abs(box.height - height / 4) < 1


def test_a_shift_is_seen_through_the_same_tiles(after_a_round) -> None:
    root = after_a_round(1.0)
    samples = read_manifest(root / layout.MANIFEST)
    known = [
        Picture(s.sample_id, root / s.image, root / s.mask if s.mask else None) for s in samples
    ]
    val = [each for each, sample in zip(known, samples, strict=True) if sample.split == "val"]
    target = [Picture(f"dusk/{n}", each.image) for n, each in enumerate(known)]
    found = shift(
        root, params_at(1.0), Asked(a="day", b="dusk", known=known, val=val, target=target)
    )
    assert found["disagreement"]["a"] is not None
    assert sum(found["class_prior"]["b"].values()) == pytest.approx(1, abs=1e-4)
    assert 0 <= found["expected_miou"][0] <= 1


def test_an_exported_network_gives_our_pixels_tile_by_tile(after_a_round, tmp_path: Path) -> None:
    root = after_a_round(1.0)
    files = sorted((root / "data/day/images").iterdir())[:8]
    export_onnx(root / layout.TEACHER, tmp_path / "teacher.onnx", files)
    session = onnxruntime.InferenceSession(str(tmp_path / "teacher.onnx"))
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["height_px"], facts["width_px"], facts["scale"]) == ("64", "64", "1.0")

    def through_onnx(images_BCHW: torch.Tensor) -> torch.Tensor:
        parts = [session.run(["logits"], {"images": each[None].numpy()})[0] for each in images_BCHW]
        return torch.from_numpy(np.concatenate(parts))

    model = load_model(root / layout.TEACHER)
    settings = TileSettings(model.image.crop_size, "imagenet", torch.device("cpu"))
    images = [(file, read_seen(file, model.image)) for file in files]
    assert {image_CHW.shape[-2:] for _, image_CHW in images} == set(SIZES)
    for _, bands in tiled(images, [model.network, through_onnx], settings):
        found = whole(bands)
        assert torch.equal(found[model.network].argmax(0), found[through_onnx].argmax(0))
