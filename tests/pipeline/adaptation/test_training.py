"""`adapt` in real trainings: what each knob changes, and that nothing changes without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline import layout
from pipeline.adaptation.in_force import Adaptation, adaptation_in_force
from pipeline.config import NO_ADAPTATION, AdaptParams, Params
from pipeline.data.datasets import ImageStore
from pipeline.data.manifest import Sample, read_manifest, write_manifest
from pipeline.stages import train_baseline, train_teacher
from pipeline.training import TrainingJob, seeds, train
from pipeline.training.batches import Batches
from pipeline.training.checkpoints import Checkpoints
from tests.pipeline.conftest import add_sample

OFF = NO_ADAPTATION.model_dump()
ALL: dict[str, Any] = {
    "batch_norm": "mixed",
    "target_share": 0.5,
    "cross_domain_mix": True,
    "fourier_beta": 0.1,
    "source_weight": 0.3,
    "warm_start": True,
    "warm_start_steps": 3,
    "warm_start_share": 0.25,
}
ONE_BY_ONE: list[dict[str, Any]] = [
    {"batch_norm": "adabn"},
    {"batch_norm": "mixed"},
    {"target_share": 1.0},
    {"cross_domain_mix": True},
    {"fourier_beta": 0.1},
    {"source_weight": 0.0},
    {"warm_start": True},
    {"warm_start": True, "warm_start_steps": 3},
    {"warm_start": True, "warm_start_rate": 0.1},
    {"warm_start": True, "warm_start_share": 0.5},
]


@pytest.fixture
def shifted(tmp_path: Path) -> Path:
    """Three labelled and two other day images; one labelled and three other dusk images."""
    root = tmp_path / "shifted"
    plan = [("day", True)] * 3 + [("day", False)] * 2 + [("dusk", True)] + [("dusk", False)] * 3
    samples = [
        add_sample(root, f"{domain}/{number:02}", "pool", number, masked=masked)
        for number, (domain, masked) in enumerate(plan)
    ]
    write_manifest(root / layout.MANIFEST, samples)
    return root


@pytest.fixture
def dusk_params(tiny_params) -> Callable[..., Params]:
    """`dusk_params(adapt, **blocks)`: dusk is the current domain; every pixel is reliable."""

    def make(adapt: dict[str, Any] | None = None, **blocks: dict[str, Any]) -> Params:
        train = {"monitor_share": 0.0, **blocks.pop("train", {})}
        method = {"confidence_threshold": 0.0, **blocks.pop("method", {})}
        params = tiny_params(train=train, method=method, adapt={**OFF, **(adapt or {})}, **blocks)
        domains = dict.fromkeys(("day", "dusk"), params.domains["day"])
        return params.model_copy(update={"domain": "dusk", "domains": domains})

    return make


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


def test_with_everything_off_it_is_the_training_as_ever(shifted: Path, dusk_params) -> None:
    """Steps, order and draws as without this package: by the loop alone, and naively."""
    off = dusk_params({"batch_norm_prior": 3.0, "warm_start_steps": 2})
    samples = read_manifest(shifted / layout.MANIFEST)
    job = TrainingJob(
        root=shifted,
        stage="train_teacher",
        params=off,
        method_name="fixmatch",
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
    assert adaptation_in_force(tiny_params(adapt=ALL), read_manifest(root / layout.MANIFEST)) == (
        Adaptation()
    )


def test_the_defaults_are_in_force_at_a_shift(shifted: Path, dusk_params, tiny_params) -> None:
    params = dusk_params(tiny_params().adapt.model_dump())
    plain = weights_of(shifted, dusk_params())
    assert weights_of(shifted, params) != plain


def test_a_baseline_never_adapts(shifted: Path, dusk_params) -> None:
    hand_over(shifted, dusk_params())
    plain = weights_of(shifted, dusk_params(), train_baseline.run)
    assert weights_of(shifted, dusk_params(ALL), train_baseline.run) == plain


class Killed(Exception):
    pass


def test_resumed_equals_uninterrupted_with_all_of_it(
    shifted: Path, dusk_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = dusk_params(ALL, train={"checkpoint_every_s": 0.0, "rare_class_sampling": True})
    hand_over(shifted, params)
    whole = weights_of(shifted, params)
    save = Checkpoints.save

    def save_and_die(self: Checkpoints, state) -> None:
        save(self, state)
        if state.step == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            train_teacher.run(shifted, params)
    said: list[str] = []
    monkeypatch.setattr("pipeline.training.loop.say", said.append)
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


def new_batches(root: Path, params: Params, **changes: Any) -> Batches:
    samples = read_manifest(root / layout.MANIFEST)
    facts = {
        "store": ImageStore(root, params.image, cache_mib=10),
        "params": params,
        "labelled": [s for s in samples if s.labelled],
        "unlabelled": [s for s in samples if s.unlabelled],
        "num_strong_views": 1,
        "device": torch.device("cpu"),
        "adaptation": adaptation_in_force(params, samples),
    }
    return Batches(**{**facts, **changes})


def unlabelled_domains(batches: Batches, num_steps: int) -> list[str]:
    seen = [batches.at(step).unlabelled for step in range(num_steps)]
    places = [place for one in seen if one is not None for place in one.index_B.tolist()]
    return [batches.unlabelled[place].domain for place in places]


@pytest.mark.parametrize(("share", "expected"), [(1.0, 12), (0.0, 0), (0.5, 6)])
def test_the_unlabelled_stream_has_its_share_of_the_current_domain(
    shifted: Path, dusk_params, share: float, expected: int
) -> None:
    batches = new_batches(shifted, dusk_params({"target_share": share}))
    assert unlabelled_domains(batches, 4).count("dusk") == expected


def test_without_a_share_the_stream_is_in_shuffled_passes(shifted: Path, dusk_params) -> None:
    batches = new_batches(shifted, dusk_params({"fourier_beta": 0.1}))
    seen = [batches.at(step).unlabelled for step in range(5)]
    places = [place for one in seen if one is not None for place in one.index_B.tolist()]
    assert places == seeds.draw_indices(0, seeds.ORDER_UNLABELLED, 5, range(15))


@pytest.mark.parametrize("rare", [False, True])
def test_a_source_weight_of_0_leaves_the_current_domains_labels(
    shifted: Path, dusk_params, rare: bool
) -> None:
    from pipeline.training.imbalance import rare_classes

    params = dusk_params({"source_weight": 0.0}, train={"rare_class_sampling": rare})
    batches = new_batches(shifted, params)
    rule = rare_classes(batches.store, batches.labelled, params, batches.adaptation)
    batches = new_batches(shifted, params, rare_classes=rule)
    drawn = {batches.labelled[p].domain for s in range(6) for p in batches._labelled_places(s)}
    assert drawn == {"dusk"}


def test_only_other_domains_images_are_styled(shifted: Path, dusk_params) -> None:
    plain = new_batches(shifted, dusk_params())
    styled = new_batches(shifted, dusk_params({"fourier_beta": 0.1}))
    changed = set()
    for step in range(12):
        before, after = plain.at(step), styled.at(step)
        assert torch.equal(before.masks_BHW, after.masks_BHW)
        for at, place in enumerate(plain._labelled_places(step)):
            same = torch.equal(before.images_BCHW[at], after.images_BCHW[at])
            changed.add((plain.labelled[place].domain, same))
    assert changed == {("day", True), ("day", False), ("dusk", True)}


def test_left_out_images_lend_no_style(shifted: Path, dusk_params) -> None:
    samples = read_manifest(shifted / layout.MANIFEST)
    junk = next(s for s in samples if s.domain == "dusk" and not s.mask)
    marked = [Sample(**{**vars(s), "left_out": "blank"}) if s is junk else s for s in samples]
    found = adaptation_in_force(dusk_params(ALL), marked)
    assert len(found.target) == 3
    assert junk.sample_id not in {s.sample_id for s in found.target}
    assert found.params == AdaptParams(**{**OFF, **ALL})
