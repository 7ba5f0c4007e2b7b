"""Evaluation of models whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline import layout
from pipeline.metrics.per_image import mious, read_areas
from pipeline.models import LoadedModel, same_model, save_untrained
from pipeline.records.manifest import read_manifest
from pipeline.stages import evaluate, train_baseline, train_teacher


class Bright(nn.Module):
    """Class 1 where the image is bright: right on the tiny workspace; `shift` makes it wrong."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images_BCHW: Tensor) -> Tensor:
        bright_BHW = images_BCHW.mean(dim=1) - self.threshold
        return torch.stack([-bright_BHW, bright_BHW, torch.full_like(bright_BHW, -9)], dim=1)


@pytest.fixture
def known_models(monkeypatch: pytest.MonkeyPatch, tiny_params) -> None:
    config = {"image": tiny_params().image.model_dump(), "normalisation": "symmetric"}
    found = {"teacher": Bright(0.0), "baseline": Bright(9.0)}  # the baseline never says 1
    monkeypatch.setattr(
        evaluate, "load_model", lambda folder: LoadedModel(found[folder.name], config)
    )


@pytest.mark.usefixtures("known_models")
def test_known_answers(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(1, 2, val=3)
    evaluate.run(root, tiny_params())
    result = json.loads((root / layout.EVALUATION).read_text())
    assert result["domain"] == "day"
    assert result["labelled"] == 1
    assert result["labelled_by_domain"] == {"day": 1}
    assert result["annotated_by_domain"] == {"day": 0}
    teacher, baseline = (result[which]["day"]["val"] for which in ("teacher", "baseline"))
    assert teacher["num_images"] == 3
    assert teacher["iou"]["square"] > 0.9
    assert teacher["iou"]["never"] is None
    assert teacher["miou"] == pytest.approx(
        (teacher["iou"]["ground"] + teacher["iou"]["square"]) / 2, abs=1e-6
    )
    # Image by image what both mIoUs are made of; the tiny images are alike.
    ids, areas = read_areas(root / layout.VAL_AREAS)["day"]
    assert len(ids) == 3
    assert areas.truth_NK[:, 1].tolist() == [24 * 30] * 3
    assert mious(areas, np.ones((1, 3)))[0] == pytest.approx(teacher["miou"], abs=1e-6)
    # 24x30 of 59x70 valid pixels are the square.
    assert baseline["iou"]["ground"] == pytest.approx(1 - 24 * 30 / (59 * 70), abs=1e-6)
    assert baseline["iou"]["square"] == 0.0


@pytest.mark.usefixtures("known_models")
def test_what_is_said_of_the_teachers_certainty(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(1, 2, val=3)
    evaluate.run(root, tiny_params())
    result = json.loads((root / layout.EVALUATION).read_text())
    found = result["calibration"]
    assert found["domain"] == "day"
    assert found["num_pixels"] == 3 * 59 * 70  # the top row is IGNORE
    assert 0 < found["error_rate"] < 0.1
    assert sum(each["share"] for each in found["reliability"]) == pytest.approx(1, abs=1e-4)
    right = sum(each["share"] * each["accuracy"] for each in found["reliability"])
    assert right == pytest.approx(1 - found["error_rate"], abs=1e-4)
    assert set(found["class_ece"]) == set(tiny_params().classes)
    # Its logits are small for one that is nearly always right: it is too modest.
    assert found["temperature"] < 1
    assert found["ece_after"] < found["ece"]
    assert set(found["error_detection"]) == {"entropy", "margin", "least_confidence"}
    for scores in found["error_detection"].values():
        assert scores["auroc"] > 0.5
        assert scores["aupr"] > found["error_rate"]
        assert 0 <= scores["ause"] < found["error_rate"]


def test_untrained_is_not_measurable(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(0, 2, val=2)
    for folder in (layout.BASELINE, layout.TEACHER):
        save_untrained(root / folder, why="no labels")
    evaluate.run(root, tiny_params())
    result = json.loads((root / layout.EVALUATION).read_text())
    assert result["calibration"] is None
    val = result["teacher"]["day"]["val"]
    assert val["miou"] is None
    assert val["num_images"] == 2
    assert set(val["iou"].values()) == {None}


@pytest.mark.usefixtures("known_models")
def test_without_val_images_it_is_not_measurable(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(1, 1, val=0)
    evaluate.run(root, tiny_params())
    assert json.loads((root / layout.EVALUATION).read_text())["calibration"] is None
    val = evaluate.evaluate_split(root, tiny_params(), "val")["teacher"]["day"]["val"]
    assert val == {"miou": None, "num_images": 0, "iou": dict.fromkeys(tiny_params().classes)}


def test_a_transductive_teacher_is_marked(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    root: Path = make_workspace(1, 1)
    image = tiny_params().image.model_dump()
    for transductive in (True, False):
        config = {"image": image, "normalisation": "symmetric", "transductive": transductive}
        teacher = LoadedModel(Bright(0.0), config)
        baseline = LoadedModel(Bright(9.0), {**config, "transductive": not transductive})
        found = {"teacher": teacher, "baseline": baseline}
        monkeypatch.setattr(evaluate, "load_model", lambda folder, found=found: found[folder.name])
        evaluate.run(root, tiny_params())
        assert json.loads((root / layout.EVALUATION).read_text())["transductive"] is transductive


@pytest.mark.usefixtures("known_models")
def test_the_stage_opens_no_test_image(make_workspace, tiny_params) -> None:
    root: Path = make_workspace(1, 1, val=2)
    manifest = root / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace(",val,", ",test,"))
    for sample in read_manifest(manifest):
        if sample.split == "test":
            (root / sample.image).unlink()
    evaluate.run(root, tiny_params())


def test_a_teacher_that_is_the_baseline_is_judged_once(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    root: Path = make_workspace(2, 2, val=2)
    params = tiny_params(method={"name": "supervised"})
    train_baseline.run(root, params)
    train_teacher.run(root, params)
    judged: list[Path] = []
    judge = evaluate._judge
    monkeypatch.setattr(evaluate, "_judge", lambda *about: judged.append(about[2]) or judge(*about))
    evaluate.run(root, params)
    once = json.loads((root / layout.EVALUATION).read_text())
    assert judged == [layout.BASELINE]
    monkeypatch.setattr(evaluate, "same_model", lambda one, other: False)
    evaluate.run(root, params)
    assert json.loads((root / layout.EVALUATION).read_text()) == once
    weights = root / layout.TEACHER / "model.safetensors"
    assert same_model(root / layout.BASELINE, root / layout.TEACHER)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\0")
    assert not same_model(root / layout.BASELINE, root / layout.TEACHER)
    weights.unlink()
    assert not same_model(root / layout.BASELINE, root / layout.TEACHER)
    assert not same_model(root / "nowhere", root / "nowhere")
