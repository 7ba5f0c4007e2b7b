"""What every engine of click to mask has to do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import layout
from pipeline.clicks.marks import BoxMark, Click
from pipeline.clicks.mask_engine import MaskEngine
from pipeline.clicks.sam_engine import SamEngine, sam_files
from pipeline.clicks.teacher_engine import TeacherEngine
from pipeline.config.params import Params
from pipeline.errors import AnnotationError, DataError
from pipeline.models import build_model, save_model
from tests.pipeline.clicks.conftest import SIZE
from tests.pipeline.clicks.conftest import picture as picture
from tests.pipeline.clicks.conftest import tiny_params as tiny_params
from tests.support.sam_graphs import write_sam

CLICK = Click(30.5, 55.5)
Making = Callable[[], MaskEngine]


@pytest.fixture(params=["no teacher", "network", "probe", "sam"])
def making(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tiny_params: Params,
    monkeypatch: pytest.MonkeyPatch,
) -> Making:
    root = tmp_path / "workspace"
    if request.param == "sam":
        monkeypatch.setenv("SSL_LOOP_WEIGHTS", str(tmp_path / "weights"))
        write_sam(*sam_files("tiny"))
        return lambda: SamEngine(root, tiny_params)
    if request.param != "no teacher":
        name = "probe" if request.param == "probe" else "pspnet_mini"
        _save_teacher(root, tiny_params.with_knobs(model={"name": name}))
    return lambda: TeacherEngine(root, tiny_params)


def _save_teacher(root: Path, params: Params) -> None:
    torch.manual_seed(0)
    network = build_model(params.model, params.num_classes)
    config = {
        "model": params.model.model_dump(mode="json"),
        "image": params.image.model_dump(mode="json"),
        "classes": list(params.classes),
        "normalisation": params.model.normalisation,
    }
    save_model(root / layout.TEACHER, network, config)


def test_a_mask_has_the_images_size_and_the_click(making: Making, picture: Path) -> None:
    engine = making()
    engine.prepare(picture)
    mask_HW = engine.mask(picture, [CLICK], 1)
    assert mask_HW.shape == SIZE
    assert mask_HW.dtype == np.bool_
    assert engine.name


def test_equal_marks_equal_masks_kept_or_made_anew(making: Making, picture: Path) -> None:
    marks = [CLICK, Click(60, 10, positive=False)]
    first_HW = making().mask(picture, marks, 1)
    assert np.array_equal(making().mask(picture, marks, 1), first_HW)
    for kept in picture.parent.rglob("clicks/*/*.npz"):
        kept.write_bytes(kept.read_bytes()[:100])  # as after a full disk
    assert np.array_equal(making().mask(picture, marks, 1), first_HW)


def test_what_was_prepared_is_kept_on_disk(making: Making, picture: Path) -> None:
    making().prepare(picture)
    (kept,) = picture.parent.rglob("clicks/*/*.npz")
    before = kept.stat().st_mtime_ns
    making().prepare(picture)
    assert kept.stat().st_mtime_ns == before


def test_an_image_that_was_replaced_is_looked_at_again(making: Making, picture: Path) -> None:
    engine = making()
    assert engine.mask(picture, [CLICK], 1).shape == SIZE
    Image.new("RGB", (40, 50), (9, 9, 9)).save(picture)
    assert engine.mask(picture, [Click(5, 5)], 1).shape == (50, 40)
    with pytest.raises(AnnotationError, match="50 rows and 40 columns"):
        engine.mask(picture, [CLICK], 1)


def test_marks_and_classes_that_cannot_be_are_refused(making: Making, picture: Path) -> None:
    engine = making()
    with pytest.raises(AnnotationError, match="outside of the image"):
        engine.mask(picture, [Click(100, 5)], 1)
    with pytest.raises(AnnotationError, match="neither a box nor a positive click"):
        engine.mask(picture, [Click(5, 5, positive=False)], 1)
    with pytest.raises(AnnotationError, match="class 3: expected 0 to 2"):
        engine.mask(picture, [CLICK], 3)


def test_what_is_no_image_is_refused(making: Making, tmp_path: Path) -> None:
    engine = making()
    with pytest.raises(DataError, match="cannot be read"):
        engine.prepare(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png"):
        engine.prepare(tmp_path / "text.png")


def test_a_box_is_a_mark_too(making: Making, picture: Path) -> None:
    assert making().mask(picture, [BoxMark(14, 38, 46, 72)], 1).shape == SIZE
