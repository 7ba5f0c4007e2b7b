"""A training stage, files to files; and a real kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

import pipeline
from pipeline import layout
from pipeline.config.params import ModelParams
from pipeline.errors import DataError, ModelError
from pipeline.models import build_encoder, load_model
from pipeline.models.weights import add_weights
from pipeline.records.manifest import read_manifest
from pipeline.runtime.weights_folder import VARIABLE
from pipeline.stages import train_baseline, train_teacher
from pipeline.training import job as job_module

REPOSITORY = Path(pipeline.__file__).parents[1]


def files_of(root: Path, model: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / model).iterdir())}


def test_outputs_of_both_stages(make_workspace, tiny_params) -> None:
    root = make_workspace(3, 4)
    train_baseline.run(root, tiny_params())
    train_teacher.run(root, tiny_params())
    baseline, teacher = (load_model(root / f) for f in (layout.BASELINE, layout.TEACHER))
    assert baseline.trained
    assert teacher.trained
    assert (baseline.config["method"], teacher.config["method"]) == ("supervised", "fixmatch")
    hashes = {s.sample_id: s.mask_sha256 for s in read_manifest(root / layout.MANIFEST)[:3]}
    assert teacher.config["labelled"] == hashes
    assert teacher.config["version"] == pipeline.__version__
    metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
    assert metrics["trained"] is True
    assert (metrics["labelled"], metrics["unlabelled"], metrics["steps"]) == (3, 4, 4)
    assert len(metrics["loss"]) == len(metrics["reliable_share"]) == 4
    assert json.loads((root / layout.BASELINE_TRAINING).read_text())["unlabelled"] == 0
    assert not list((root / layout.CHECKPOINTS).glob("*"))


def test_equal_trainings_write_equal_bytes(make_workspace, tiny_params) -> None:
    roots = [make_workspace(2, 2, name=name) for name in ("one", "two")]
    for root in roots:
        train_teacher.run(root, tiny_params())
    one, two = (files_of(root, layout.TEACHER) for root in roots)
    assert one == two
    assert sorted(one) == ["config.json", "model.safetensors"]


def metrics_of(root: Path, stage: Path) -> dict[str, object]:
    return dict(json.loads((root / stage).read_text()))


def test_a_teacher_of_labels_alone_is_the_baseline_and_trained_once(
    make_workspace, tiny_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny_params(method={"name": "supervised"})
    once, alone = make_workspace(2, 3, name="once"), make_workspace(2, 3, name="alone")
    train_baseline.run(once, params)
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "train", None)
        train_teacher.run(once, params)
    train_teacher.run(alone, params)
    assert files_of(once, layout.TEACHER) == files_of(alone, layout.TEACHER)
    mine, theirs = (metrics_of(root, layout.TEACHER_TRAINING) for root in (once, alone))
    assert mine["loss"] == theirs["loss"]
    assert mine["labelled"] == theirs["labelled"]
    assert mine["monitor"] == theirs["monitor"]


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"learning_rate": 0.005}},
        {"train": {"seed": 5}},
        {"train": {"keep_snapshots": True}},
        {"method": {"name": "fixmatch"}},
    ],
    ids=str,
)
def test_a_baseline_of_another_training_is_not_taken(make_workspace, tiny_params, changes) -> None:
    root = make_workspace(2, 3)
    supervised = {"method": {"name": "supervised"}}
    train_baseline.run(root, tiny_params(**supervised))
    train_teacher.run(root, tiny_params(**{**supervised, **changes}))
    assert files_of(root, layout.BASELINE) != files_of(root, layout.TEACHER)


def test_a_baseline_of_other_labels_is_not_taken(make_workspace, tiny_params) -> None:
    root, other = make_workspace(2, 3, name="root"), make_workspace(3, 3, name="other")
    params = tiny_params(method={"name": "supervised"})
    train_baseline.run(other, params)
    shutil.copytree(other / layout.BASELINE, root / layout.BASELINE)
    (root / layout.METRICS).mkdir(exist_ok=True)
    shutil.copyfile(other / layout.BASELINE_TRAINING, root / layout.BASELINE_TRAINING)
    train_teacher.run(root, params)
    assert len(load_model(root / layout.TEACHER).config["labelled"]) == 2


def test_without_labels_there_is_a_marker(make_workspace, tiny_params) -> None:
    root = make_workspace(0, 3)
    train_baseline.run(root, tiny_params())
    train_teacher.run(root, tiny_params())
    for folder, metrics in (
        (layout.BASELINE, layout.BASELINE_TRAINING),
        (layout.TEACHER, layout.TEACHER_TRAINING),
    ):
        assert not load_model(root / folder).trained
        assert json.loads((root / metrics).read_text())["trained"] is False


def test_without_unlabelled_images_it_learns_from_labels_and_says_so(
    make_workspace, tiny_params, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_workspace(2, 0)
    train_teacher.run(root, tiny_params())
    assert "no unlabelled image left; fixmatch learns from labels alone" in capsys.readouterr().err
    assert "consistency" not in json.loads((root / layout.TEACHER_TRAINING).read_text())


def test_val_images_are_in_neither_stream(make_workspace, tiny_params) -> None:
    one, two = make_workspace(2, 2, val=0, name="one"), make_workspace(2, 2, val=3, name="two")
    for root in (one, two):
        train_teacher.run(root, tiny_params())
    assert files_of(one, layout.TEACHER) == files_of(two, layout.TEACHER)


def test_transductive_images_join_without_their_masks(make_workspace, tiny_params) -> None:
    """Masks of val and test that are gone, or wrong, change nothing: nobody reads them."""
    found = []
    for name in ("whole", "gone"):
        root = make_workspace(2, 2, val=3, name=name)
        manifest = root / layout.MANIFEST
        manifest.write_text(manifest.read_text().replace(",val,", ",test,", 1))
        judged = [s for s in read_manifest(manifest) if s.split != "pool"]
        assert {s.split for s in judged} == {"val", "test"}
        for sample in judged if name == "gone" else ():
            (root / sample.mask).unlink()
        # The monitor reads masks of val, to tell and to guard; here nobody may.
        params = tiny_params(method={"transductive": True}, train={"monitor_share": 0.0})
        train_teacher.run(root, params)
        metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
        assert (metrics["unlabelled"], metrics["transductive"]) == (5, True)
        assert load_model(root / layout.TEACHER).config["transductive"] is True
        found.append(files_of(root, layout.TEACHER))
    assert found[0] == found[1]
    train_teacher.run(make_workspace(2, 2, val=3, name="inductive"), tiny_params())
    inductive = files_of(root.with_name("inductive"), layout.TEACHER)
    assert inductive["model.safetensors"] != found[0]["model.safetensors"]


def test_a_baseline_is_never_transductive(make_workspace, tiny_params) -> None:
    root = make_workspace(2, 2)
    train_baseline.run(root, tiny_params(method={"transductive": True}))
    metrics = json.loads((root / layout.BASELINE_TRAINING).read_text())
    assert (metrics["unlabelled"], metrics["transductive"]) == (0, False)


def test_the_monitor_reads_val_and_never_test(make_workspace, tiny_params) -> None:
    root = make_workspace(2, 2, val=3)
    manifest = root / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace(",val,", ",test,", 1))
    for sample in read_manifest(manifest):
        if sample.split == "test":
            (root / sample.image).unlink()
            (root / sample.mask).unlink()
    train_teacher.run(root, tiny_params())
    metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
    assert [point["step"] for point in metrics["monitor"]] == [1, 2, 3, 4]
    assert metrics["transductive"] is False


OPTIONS: list[dict[str, object]] = [
    {"loss": "symmetric_cross_entropy"},
    {"class_weights": "sqrt_inverse"},
    {"ohem": True},
    {"rare_class_sampling": True},
]


def test_every_option_of_the_labelled_part_changes_what_is_learnt(
    make_workspace, tiny_params
) -> None:
    root, found = make_workspace(3, 0), []
    for train in ({}, *OPTIONS, {key: value for o in OPTIONS for key, value in o.items()}):
        train_baseline.run(root, tiny_params(train={"monitor_share": 0.0, "steps": 2, **train}))
        found.append(files_of(root, layout.BASELINE)["model.safetensors"])
    assert len(set(found)) == len(found)


def test_a_changed_mask_is_refused(make_workspace, tiny_params) -> None:
    root = make_workspace(2, 2)
    mask = root / read_manifest(root / layout.MANIFEST)[0].mask
    mask.write_bytes(mask.read_bytes() + b" ")
    with pytest.raises(DataError, match="differs from the manifest"):
        train_teacher.run(root, tiny_params())


def test_a_missing_encoder_file_is_refused(make_workspace, tiny_params) -> None:
    params = tiny_params(model={"encoder_weights": "absent.safetensors"})
    with pytest.raises(ModelError, match=r"absent\.safetensors"):
        train_teacher.run(make_workspace(2, 2), params)


def test_auto_begins_from_stored_weights_and_the_model_says_which(
    make_workspace, tiny_params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    encoder = build_encoder(ModelParams(encoder="tu-test_efficientnet"))
    save_file(encoder.state_dict(), tmp_path / "w.safetensors")
    kept = add_weights(tmp_path / "w.safetensors", "tu-test_efficientnet")
    root = make_workspace(2, 2)
    still = {"steps": 1, "learning_rate": 1e-12, "encoder_learning_rate": 0.0}
    auto = {"encoder_weights": "auto", "normalisation": "auto", "freeze_batch_norm": True}
    train_baseline.run(root, tiny_params(train=still, model=auto))
    model = load_model(root / layout.BASELINE)
    assert model.network is not None
    name = "model.conv_stem.weight"
    assert torch.equal(
        model.network.get_submodule("encoder").state_dict()[name], encoder.state_dict()[name]
    )
    config = model.config
    assert config["model"]["encoder_weights"] == f"auto:{kept.sha256}"
    assert config["encoder_weights_sha256"] == kept.sha256
    assert config["encoder_weights_source"] == "file"
    assert "encoder_weights_origin" not in config
    assert config["normalisation"] == config["model"]["normalisation"] == "imagenet"


def test_random_weights_under_auto_are_told_from_those_that_were_wanted(
    make_workspace, tiny_params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    root, configs = make_workspace(2, 2), []
    for given in (None, "auto:random"):
        params = tiny_params(train={"steps": 1}, model={"encoder_weights": given})
        train_baseline.run(root, params)
        configs.append(load_model(root / layout.BASELINE).config)
    wanted, found = configs
    assert "encoder_weights_source" not in wanted
    assert found["encoder_weights_source"] == "random"
    assert found["encoder_weights_sha256"] is None


def start(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "train_teacher", "--root", str(root)]
    environ = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE)


def write_params(root: Path, params) -> None:
    knobs = json.loads(params.model_dump_json())
    with (root / layout.PARAMS).open("w") as file:
        YAML(typ="safe").dump(knobs, file)


@pytest.mark.programs
def test_killed_and_started_again_it_ends_with_the_same_bytes(make_workspace, tiny_params) -> None:
    params = tiny_params(train={"steps": 30, "checkpoint_every_s": 0.0})
    roots = [make_workspace(3, 4, name=name) for name in ("whole", "killed")]
    for root in roots:
        write_params(root, params)
    train_teacher.run(roots[0], params)
    victim = start(roots[1])
    deadline = time.monotonic() + 300
    while not list((roots[1] / layout.CHECKPOINTS).glob("*/state.pt")):
        assert time.monotonic() < deadline
        assert victim.poll() is None
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert victim.stderr is not None
    victim.stderr.close()
    assert not (roots[1] / layout.TEACHER).exists()

    again = start(roots[1])
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0
    assert b"train_teacher: resumed at step " in said
    assert files_of(roots[0], layout.TEACHER) == files_of(roots[1], layout.TEACHER)
    curves = [(root / layout.TEACHER_TRAINING).read_bytes() for root in roots]
    assert curves[0] == curves[1]


@pytest.mark.programs
def test_several_processes_share_the_steps(make_workspace, tiny_params) -> None:
    root = make_workspace(4, 6)
    write_params(root, tiny_params(train={"steps": 2, "device": "cpu", "num_devices": 2}))
    run = start(root)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said.decode()
    assert load_model(root / layout.TEACHER).trained
    assert said.count(b"train_teacher: 2/2") == 1
