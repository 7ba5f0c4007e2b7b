"""`adapt` in real trainings: what each knob changes, and that nothing changes without."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline import layout
from pipeline.config.params import NO_ADAPTATION, Params
from pipeline.data.augment import strong_view
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.stages import train_baseline, train_teacher
from pipeline.training import TrainingJob, method_setup, train
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.domain_adaptation.enabled import Adaptation, adaptation_in_force, enabled
from tests.pipeline.training.domain_adaptation.conftest import ALL
from tests.support.trainings import killed_after

pytestmark = pytest.mark.heavy

ONE_BY_ONE: list[dict[str, Any]] = [
    {"batch_norm": "adabn"},
    {"batch_norm": "mixed"},
    {"target_share": 1.0},
    {"cross_domain_mix": True},
    {"masked_consistency": True},
    {"masked_consistency": True, "mask_ratio": 0.3},
    {"masked_consistency": True, "mask_patch_px": 8},
    {"fourier_beta": 0.1},
    {"source_weight": 0.0},
    {"warm_start": True},
    {"warm_start": True, "warm_start_steps": 3},
    {"warm_start": True, "warm_start_rate": 0.1},
    {"warm_start": True, "warm_start_share": 0.5},
]


def weights_of(root: Path, params: Params, run=train_teacher.run) -> bytes:
    run(root, params)
    folder = layout.TEACHER if run is train_teacher.run else layout.BASELINE
    return (root / folder / "model.safetensors").read_bytes()


def hand_over(root: Path, params: Params) -> None:
    """Another teacher than the one to come."""
    train_teacher.run(root, params.model_copy(update={"domain": "day"}))
    shutil.rmtree(root / layout.PREVIOUS_TEACHER, ignore_errors=True)
    shutil.copytree(root / layout.TEACHER, root / layout.PREVIOUS_TEACHER)


def test_every_knob_changes_what_is_learnt_and_all_go_together(shifted: Path, dusk_params) -> None:
    hand_over(shifted, dusk_params())
    found = [weights_of(shifted, dusk_params(adapt)) for adapt in ({}, *ONE_BY_ONE, ALL)]
    assert len(set(found)) == len(found)
    metrics = json.loads((shifted / layout.TEACHER_TRAINING).read_text())
    assert (metrics["steps"], metrics["adapt"]["domain"]) == (3, "dusk")
    assert metrics["cross_domain"][-1] > 0
    assert metrics["masked"][-1] > 0


def test_with_everything_off_it_is_the_training_as_ever(shifted: Path, dusk_params) -> None:
    """Steps, order and draws as without this package: by the loop alone, and naively."""
    off = dusk_params({"batch_norm_prior": 3.0, "warm_start_steps": 2, "mask_ratio": 0.5})
    samples = read_manifest(shifted / layout.MANIFEST)
    job = TrainingJob(
        root=shifted,
        stage="train_teacher",
        params=off,
        labelled=tuple(s for s in samples if s.labelled),
        unlabelled=tuple(s for s in samples if s.unlabelled),
    )
    bare = train(job, Checkpoints(shifted, "train_teacher-0")).network.state_dict()
    train_teacher.run(shifted, off)
    kept = load_file(shifted / layout.TEACHER / "model.safetensors")
    assert all(torch.equal(kept[key], value) for key, value in bare.items())
    assert "adapt" not in json.loads((shifted / layout.TEACHER / "config.json").read_text())


def test_before_a_shift_nothing_is_in_force(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 3, val=0)
    plain = weights_of(root, tiny_params())
    assert weights_of(root, tiny_params(adapt=ALL)) == plain
    params = tiny_params(adapt=ALL)
    found = adaptation_in_force(params, read_manifest(root / layout.MANIFEST))
    assert found == Adaptation()
    assert enabled(params, found, method_name="fixmatch", warm=False).adapt == NO_ADAPTATION


def test_what_is_in_force_is_decided_in_one_place(shifted: Path, dusk_params) -> None:
    """The method's own knobs are left alone; another method's options are not handed on."""
    params = dusk_params({**ALL, "cross_domain_mix": "until_labelled"}, method={"options": {}})
    adaptation = adaptation_in_force(params, read_manifest(shifted / layout.MANIFEST))
    found = enabled(params, adaptation, method_name="fixmatch", warm=True)
    assert found.method == params.method
    assert found.adapt.cross_domain_mix is False
    assert found.train.steps == 3
    assert found.train.learning_rate == params.train.learning_rate * params.adapt.warm_start_rate
    assert enabled(params, adaptation, method_name="fixmatch", warm=False).train == params.train


@pytest.mark.parametrize("strong_colour", [True, False])
def test_mixed_images_get_colours_unless_colours_are_off(
    shifted: Path, dusk_params, monkeypatch: pytest.MonkeyPatch, strong_colour: bool
) -> None:
    asked: list[torch.Tensor] = []

    def spy(images_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        asked.append(images_BCHW)
        return strong_view(images_BCHW, generator)

    monkeypatch.setattr(method_setup, "strong_view", spy)
    weights_of(
        shifted, dusk_params({"cross_domain_mix": True}, method={"strong_colour": strong_colour})
    )
    assert len(asked) == (4 if strong_colour else 0)  # steps
    assert all(images.min() >= 0 and images.max() <= 1 for images in asked)  # not normalised


def test_the_baseline_of_two_pairs_has_one_network(dusk_params) -> None:
    params = dusk_params({}, method={"network_perturbation": "initialisation"})
    for name, expected in (("supervised", "none"), (params.method.name, "initialisation")):
        found = enabled(params, Adaptation(), method_name=name, warm=False)
        assert found.method.network_perturbation == expected


def test_the_defaults_are_in_force_at_a_shift(shifted: Path, dusk_params, tiny_params) -> None:
    params = dusk_params(tiny_params().adapt.model_dump())
    plain = weights_of(shifted, dusk_params())
    assert weights_of(shifted, params) != plain


def test_a_baseline_never_adapts(shifted: Path, dusk_params) -> None:
    hand_over(shifted, dusk_params())
    plain = weights_of(shifted, dusk_params(), train_baseline.run)
    assert weights_of(shifted, dusk_params(ALL), train_baseline.run) == plain


def test_resumed_equals_uninterrupted_with_all_of_it(
    shifted: Path, dusk_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = dusk_params(ALL, train={"checkpoint_every_s": 0.0, "rare_class_sampling": True})
    hand_over(shifted, params)
    whole = weights_of(shifted, params)
    with killed_after(2):
        train_teacher.run(shifted, params)
    said: list[str] = []
    monkeypatch.setattr("pipeline.training.trainer.say", said.append)
    assert weights_of(shifted, params) == whole
    assert said == ["train_teacher: resumed at step 2"]


def test_another_last_teacher_is_another_training(shifted: Path, dusk_params) -> None:
    """A checkpoint of a training that started elsewhere is not resumed."""
    params = dusk_params({"warm_start": True})
    hand_over(shifted, params)
    one = weights_of(shifted, params)
    hand_over(shifted, dusk_params(train={"seed": 9}))
    assert weights_of(shifted, params) != one


def test_what_is_kept_lies_between_the_last_teacher_and_what_was_trained(
    shifted: Path, dusk_params
) -> None:
    hand_over(shifted, dusk_params())
    weights_of(shifted, dusk_params({"warm_start": True}))
    trained = load_file(shifted / layout.TEACHER / "model.safetensors")
    weights_of(shifted, dusk_params({"warm_start": True, "warm_start_share": 0.25}))
    kept = load_file(shifted / layout.TEACHER / "model.safetensors")
    last = load_file(shifted / layout.PREVIOUS_TEACHER / "model.safetensors")
    for name, value in kept.items():
        if value.is_floating_point():
            expected = 0.75 * trained[name].double() + 0.25 * last[name].double()
            torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)
        else:  # batches that the batch norms counted
            assert torch.equal(value, trained[name])


def test_a_share_of_a_teacher_that_is_not_there_is_none(shifted: Path, dusk_params) -> None:
    alone = {"warm_start": True, "warm_start_share": 0.0}
    plain = weights_of(shifted, dusk_params(alone))
    assert weights_of(shifted, dusk_params({**alone, "warm_start_share": 0.5})) == plain


def test_the_mix_until_there_are_labels_of_the_new_domain(shifted: Path, dusk_params) -> None:
    """The fixture has one of dusk; without it every image of dusk is unlabelled."""

    def trained(mix: Any) -> bytes:
        return weights_of(shifted, dusk_params({"cross_domain_mix": mix}))

    always, never = trained(True), trained(False)
    assert trained("until_labelled") == never != always
    samples = read_manifest(shifted / layout.MANIFEST)
    bare = [
        replace(s, mask="", mask_sha256="", origin="") if s.domain == "dusk" else s for s in samples
    ]
    write_manifest(shifted / layout.MANIFEST, bare)
    assert trained("until_labelled") == trained(True) != trained(False)


def test_a_model_without_batch_norm_takes_the_rest_and_says_so(
    shifted: Path, dusk_params, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"name": "vit", "encoder": "tu-test_vit", "encoder_options": {}}
    rest = {"target_share": 1.0, "cross_domain_mix": True}
    with_it = weights_of(shifted, dusk_params({"batch_norm": "adabn", **rest}, model=model))
    assert "adapt.batch_norm: vit with tu-test_vit has no batch norm; the rest" in (
        capsys.readouterr().err
    )
    assert with_it == weights_of(shifted, dusk_params(rest, model=model))


def test_a_method_without_a_teacher_takes_the_rest_and_says_so(
    shifted: Path, dusk_params, capsys: pytest.CaptureFixture[str]
) -> None:
    method = {"name": "cps"}
    found = weights_of(shifted, dusk_params({"cross_domain_mix": True}, method=method))
    assert "adapt.cross_domain_mix: cps has no teacher" in capsys.readouterr().err
    assert found == weights_of(shifted, dusk_params(method=method))
