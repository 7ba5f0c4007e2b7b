"""A network and a probe of the same labels: the better on val is kept, and it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import layout
from pipeline.data.formats.images import load_mask
from pipeline.errors import ConfigError
from pipeline.models import load_model
from pipeline.records.manifest import read_manifest
from pipeline.stages import evaluate, predict, train_baseline, train_teacher
from pipeline.training.probes import contest as contest_module
from pipeline.training.probes import probe_choice
from pipeline.training.probes.contest import judges, sentence
from pipeline.training.probes.probe_choice import probe_image

BOTH = {
    "model": {"name": "pspnet_mini", "encoder": "tu-test_efficientnet", "contender": "probe"},
    "method": {"name": "supervised"},
    "image": {"height_px": 64, "width_px": 64, "scale": 1.0},
    "train": {"steps": 1},
}


def facts_of(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / layout.TEACHER_TRAINING).read_text()))


def test_after_one_step_a_network_loses_to_a_probe(make_workspace, tiny_params, capsys) -> None:
    root = make_workspace(4, 3, val=12)
    params = tiny_params(**BOTH)
    train_baseline.run(root, params)
    train_teacher.run(root, params)
    found = facts_of(root)["contest"]
    assert (found["kept"], found["name"], found["num_images"]) == ("probe", "pspnet_mini", 12)
    assert found["miou_probe"] > found["miou"] + 0.1
    low, high = found["gain_interval"]
    assert low < found["miou_probe"] - found["miou"] < high
    model = load_model(root / layout.TEACHER)
    assert model.config["model"]["name"] == "probe"
    assert model.image == probe_image((60, 70))
    said = capsys.readouterr().err
    assert said.count("probe is kept") == 1, "the teacher is the baseline: one contest"
    predict.run(root, params)
    evaluate.run(root, params)
    judged = json.loads((root / layout.EVALUATION).read_text())["teacher"]["day"]["val"]["miou"]
    assert judged == pytest.approx(found["miou_probe"], abs=1e-5)
    pool = [each for each in read_manifest(root / layout.MANIFEST) if each.split == "pool"]
    for sample in pool:
        seen_HW = load_mask(root / layout.sample_png(layout.PSEUDO_LABELS, sample.sample_id), 3)
        assert seen_HW.shape == (60, 70)


def test_a_probe_that_learnt_nothing_loses(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_choice, "STEPS", 1)
    monkeypatch.setattr(probe_choice, "LEARNING_RATE", 1e-9)
    root, alone = make_workspace(4, 3, name="both"), make_workspace(4, 3, name="alone")
    params = tiny_params(**{**BOTH, "train": {"steps": 40, "learning_rate": 3e-3}})
    train_teacher.run(root, params)
    found = facts_of(root)["contest"]
    assert found["kept"] == "pspnet_mini"
    assert found["gain_interval"] is None, "two images say nothing about others"
    train_teacher.run(alone, params.with_knobs(model={"contender": "none"}))
    both, network = (root / layout.TEACHER / "model.safetensors" for root in (root, alone))
    assert both.read_bytes() == network.read_bytes(), "the network is what it is without a contest"


def test_a_contest_decides_for_any_method(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 4)
    params = tiny_params(**{**BOTH, "method": {"name": "mean_teacher"}})
    train_baseline.run(root, params)
    train_teacher.run(root, params)
    facts = facts_of(root)
    assert facts["method"] == "mean_teacher"
    assert facts["contest"]["kept"] == "probe"
    assert load_model(root / layout.TEACHER).config["method"] == "supervised"


def test_without_a_val_mask_the_network_stands_alone(make_workspace, tiny_params, capsys) -> None:
    root = make_workspace(3, 2, val=0)
    train_teacher.run(root, tiny_params(**BOTH))
    assert "contest" not in facts_of(root)
    assert "no val image has a mask yet; the network stands alone" in capsys.readouterr().err
    assert load_model(root / layout.TEACHER).config["model"]["name"] == "pspnet_mini"


def test_who_asks_for_snapshots_gets_those_of_the_network(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 2)
    params = tiny_params(**BOTH).with_knobs(train={"keep_snapshots": True, "steps": 3})
    train_teacher.run(root, params)
    assert "contest" not in facts_of(root)
    assert len(list((root / layout.TEACHER).glob("snapshot_*"))) == 2


def test_another_contender_is_refused(tiny_params) -> None:
    with pytest.raises(ConfigError, match=r"model\.contender = 'unet'.*'none' or 'probe'"):
        tiny_params(model={"contender": "unet"})


def test_the_current_domains_images_judge_if_it_has_any(make_workspace) -> None:
    samples = read_manifest(make_workspace(1, 1, val=3) / layout.MANIFEST)
    day = [sample for sample in samples if sample.split == "val"]
    dusk = [type(each)(**{**each.__dict__, "domain": "dusk"}) for each in day[:1]]
    assert list(judges([*samples, *dusk], "day")) == day
    assert list(judges([*samples, *dusk], "dusk")) == dusk
    assert set(judges([*samples, *dusk], "night")) == {*day, *dusk}
    many = day * contest_module.MOST_JUDGED
    assert len(judges(many, "day")) == contest_module.MOST_JUDGED


@pytest.mark.parametrize(
    ("size", "crop", "scale"),
    [
        ((360, 480), (384, 480), 1.0),
        ((60, 70), (64, 96), 1.0),
        ((1080, 1920), (640, 640), 1.0),
        ((2160, 3840), (640, 640), 0.5),
        ((20_000, 20_000), (640, 640), 0.072),
    ],
)
def test_how_a_probe_sees_images(
    size: tuple[int, int], crop: tuple[int, int], scale: float
) -> None:
    found = probe_image(size)
    assert found.crop_size == crop
    assert found.scale == pytest.approx(scale, abs=1e-3)
    assert np.prod(found.seen_size(size)) < 1.01 * probe_choice.SEEN_PIXELS


def test_the_sentence_says_both_figures_and_the_interval() -> None:
    facts = {
        "kept": "probe",
        "name": "unet",
        "miou": 0.4,
        "miou_probe": 0.512,
        "gain_interval": (0.05, 0.15),
        "num_images": 60,
    }
    assert sentence(facts) == (
        "on 60 val images unet has mIoU 0.400, a probe of the same labels 0.512 (gain +0.050 to "
        "+0.150); probe is kept"
    )
    assert "(gain" not in sentence({**facts, "gain_interval": None})
