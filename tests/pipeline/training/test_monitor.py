"""Looking at val images while training: right, and without a trace."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline import layout
from pipeline.config.params import Params
from pipeline.data.dataset import ImageStore
from pipeline.methods import METHODS
from pipeline.methods.fixmatch import FixMatch
from pipeline.methods.shared.protocol import Batch, Losses, Unlabelled
from pipeline.records.manifest import Sample, read_manifest
from pipeline.stages import train_teacher
from pipeline.training import train
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.monitor import Monitor, named_points, spread
from pipeline.types import IGNORE
from tests.support.trainings import equal, killed_after, new_job

TAU = 0.6


class Fixed(nn.Module):
    """The same logits for every image, half of its modules in train mode; it draws numbers."""

    def __init__(self, logits_KHW: Tensor) -> None:
        super().__init__()
        self.logits = logits_KHW
        self.frozen, self.norm = nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        assert not self.norm.training
        torch.rand(3)
        return self.logits.expand(len(images_BCHW), *self.logits.shape)


def new_monitor(root: Path, params: Params, points: list | None = None) -> Monitor:
    return Monitor(
        store=ImageStore(root, params.image, cache_mib=10),
        params=params,
        samples=[s for s in read_manifest(root / layout.MANIFEST) if s.split == "val"],
        device=torch.device("cpu"),
        points=points or [],
    )


def test_a_look_counts_pixels_one_by_one(make_workspace, tiny_params) -> None:
    root = make_workspace(0, 0, val=3)
    monitor = new_monitor(root, tiny_params(method={"confidence_threshold": TAU}))
    logits_KHW = 2 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits_KHW[2] = -5.0  # class 2 is never predicted, nor is it in the masks
    network = Fixed(logits_KHW)
    before = torch.get_rng_state()
    point = monitor.look(network, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert (network.training, network.norm.training, network.frozen.training) == (True, True, False)
    found = {"all": [], "sure": []}  # (truth, prediction) of every labelled pixel
    probs, predicted = (values.flatten().tolist() for values in logits_KHW.softmax(0).max(0))
    for sample in monitor.samples:
        for p, k, truth in zip(
            probs, predicted, monitor.store.mask(sample).flatten().tolist(), strict=True
        ):
            if truth != IGNORE:
                found["all"].append((truth, k))
                found["sure"] += [(truth, k)] if p >= TAU else []
    ious = []
    for c in range(2):
        hits = found["sure"].count((c, c))
        predicted_c = [pair for pair in found["sure"] if pair[1] == c]
        true_c = [pair for pair in found["all"] if pair[0] == c]
        sure_c = [pair for pair in found["sure"] if pair[0] == c]
        assert point["precision"][c] == pytest.approx(hits / len(predicted_c), abs=1e-4)
        assert point["coverage"][c] == pytest.approx(len(sure_c) / len(true_c), abs=1e-4)
        union = [pair for pair in found["all"] if c in pair]
        ious.append(found["all"].count((c, c)) / len(union))
    assert point["miou"] == pytest.approx(sum(ious) / 2, abs=1e-4)
    assert (point["step"], point["precision"][2], point["coverage"][2]) == (7, None, None)


def test_looks_are_evenly_spaced_and_the_last_step_has_one(make_workspace, tiny_params) -> None:
    root = make_workspace(0, 0, val=1)

    def steps(**train: object) -> list[int]:
        monitor = new_monitor(root, tiny_params(train=train))
        return [done for done in range(1, int(str(train["steps"])) + 1) if monitor.due(done)]

    assert steps(steps=50) == list(range(5, 51, 5))
    assert steps(steps=11, monitor_share=0.5) == [6, 11]
    assert steps(steps=3) == [1, 2, 3]
    assert steps(steps=50, monitor_share=0.0) == []


def sample(domain: str, number: int) -> Sample:
    name = f"{domain}/{number:03}"
    return Sample(sample_id=name, domain=domain, split="val", image=name, image_sha256="")


def test_images_are_spread_over_domains_and_order() -> None:
    many = [sample("a", n) for n in range(100)] + [sample("b", n) for n in range(3)]
    chosen = [s.sample_id for s in spread(many)]
    assert len(chosen) == len(set(chosen)) == 16
    assert [name for name in chosen if name[0] == "b"] == ["b/000", "b/001", "b/002"]
    places = [int(name[2:]) for name in chosen if name[0] == "a"]
    assert all(7 <= after - before <= 8 for before, after in pairwise(places))
    assert len(spread([sample(f"d{n:02}", 0) for n in range(20)])) == 16
    assert spread([]) == ()


def test_the_file_names_classes_and_keeps_few_points_and_the_last() -> None:
    points = [
        {"step": s, "miou": 0.5, "precision": [0.25, None], "coverage": [0.5, None]}
        for s in range(1, 251)
    ]
    found = named_points(points, ["road", "sky"])
    assert found[-1] == {
        "step": 250,
        "miou": 0.5,
        "precision": {"road": 0.25},
        "coverage": {"road": 0.5},
    }
    assert 40 <= len(found) <= 60
    assert named_points([], ["road"]) == []


@pytest.mark.parametrize("method_name", ["supervised", "fixmatch"])
def test_monitoring_changes_no_bit(make_workspace, tiny_params, method_name: str) -> None:
    # Dropout would show numbers that were drawn, batch norm a mode that was not put back.
    blocks = {"name": "deeplabv3plus", "freeze_batch_norm": True}
    root, states = make_workspace(3, 4), []
    for share in (0.0, 0.25):
        params = tiny_params(model=blocks, train={"monitor_share": share})
        trained = train(
            new_job(root, params, method_name, monitored=True), Checkpoints(root, "train_teacher-0")
        )
        assert [point["step"] for point in trained.monitor.points] == ([1, 2, 3, 4] * (share > 0))
        states.append(trained.network.state_dict())
    assert equal(*states)


class Collapsing(FixMatch):
    """Unlabelled images teach class 2, which is nowhere, more and more."""

    def learn(self, pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        logits_BKHW = pair.student(unlabelled.weak_BCHW)
        loss = -logits_BKHW.log_softmax(dim=1)[:, 2].mean()
        return Losses({"consistency": loss}, {})


@pytest.fixture
def collapsing(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(METHODS, "collapsing", Collapsing)
    return "collapsing"


COLLAPSE = {
    "train": {"steps": 40, "learning_rate": 3e-3, "encoder_learning_rate": 3e-3},
    # The labels alone teach at first; then the pull towards class 2 sets in.
    "method": {"name": "collapsing", "consistency_weight": 2.0, "rampup_share": 1.0,
               "ema_decay": 0.5},
}  # fmt: skip


def collapse(tiny_params, **method: object) -> Params:
    return tiny_params(train=COLLAPSE["train"], method={**COLLAPSE["method"], **method})


@pytest.mark.heavy
def test_a_collapse_is_halted(
    make_workspace, tiny_params, collapsing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_workspace(3, 4, val=3)
    train_teacher.run(root, collapse(tiny_params, name=collapsing))
    metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
    (first, *_) = events = metrics["guard"]
    assert [event["weight"] for event in events] == [2.0 / 2**n for n in range(1, len(events) + 1)]
    said = capsys.readouterr().err
    assert f"train_teacher: guard: after step {first['step']} the mIoU on val is 0." in said
    assert "the consistency weight is now 1, the teacher restarts from the student" in said
    mious = [point["miou"] for point in metrics["monitor"]]
    before = [p["miou"] for p in metrics["monitor"] if p["step"] <= first["step"]]
    assert before[-1] < max(before) - 0.03
    assert len(mious) == 10


@pytest.mark.heavy
def test_a_guard_that_is_off_lets_it_happen(make_workspace, tiny_params, collapsing: str) -> None:
    root = make_workspace(3, 4, val=3)
    params = collapse(tiny_params, name=collapsing, guard=False)
    trained = train(new_job(root, params, collapsing, monitored=True), Checkpoints(root, "a-0"))
    assert trained.guard.events == []
    mious = [point["miou"] for point in trained.monitor.points]
    assert mious[-1] < max(mious) - 0.1


@pytest.mark.heavy
def test_a_healthy_run_is_left_alone(make_workspace, tiny_params) -> None:
    root, states = make_workspace(3, 4, val=6), []
    rates = {"learning_rate": 1e-3, "encoder_learning_rate": 1e-3}
    method = {"confidence_threshold": 0.95, "ema_decay": 0.9}
    for guard in (True, False):
        params = tiny_params(train={"steps": 40, **rates}, method={**method, "guard": guard})
        trained = train(new_job(root, params, monitored=True), Checkpoints(root, "a-0"))
        assert trained.guard.events == []
        states.append(trained.network.state_dict())
    assert trained.monitor.points[-1]["miou"] > 0.6
    assert equal(*states)


@pytest.mark.heavy
def test_resumed_it_goes_on_with_the_same_points_and_the_same_guard(
    make_workspace, tiny_params, collapsing: str
) -> None:
    root = make_workspace(3, 4, val=3)
    params = collapse(tiny_params, name=collapsing)
    params = params.with_knobs(train={"checkpoint_every_s": 0.0})
    job = new_job(root, params, collapsing, monitored=True)
    whole = train(job, Checkpoints(root, "train_teacher-0"))
    (first, *_) = whole.guard.events
    # Once between two looks at a fall, once after the guard has acted.
    for cut in (first["step"] - 3, first["step"] + 1):  # looks are 4 steps apart
        key = f"train_teacher-{cut}"
        with killed_after(cut):
            train(job, Checkpoints(root, key))
        resumed = train(job, Checkpoints(root, key))
        assert resumed.monitor.points == whole.monitor.points
        assert resumed.guard.events == whole.guard.events
        assert equal(resumed.network.state_dict(), whole.network.state_dict())


def test_without_a_val_image_it_says_so_once(
    make_workspace, tiny_params, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_workspace(2, 2, val=0)
    train_teacher.run(root, tiny_params())
    assert capsys.readouterr().err.count("no validation image yet") == 1
    metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
    assert (metrics["monitor"], metrics["guard"]) == ([], [])
    train_teacher.run(root, tiny_params(train={"monitor_share": 0.0}))
    assert "no validation image yet" not in capsys.readouterr().err


def test_the_val_masks_teach_nothing(make_workspace, tiny_params) -> None:
    """Other truths on val: other curves, the same weights, as long as the guard does not act."""
    root, states, curves = make_workspace(3, 4), [], []
    job = new_job(root, tiny_params(), monitored=True)
    for masks in (job.monitored, [job.labelled[0], job.labelled[1]]):
        pairs = zip(job.monitored, masks, strict=True)
        monitored = tuple(replace(one, mask=other.mask) for one, other in pairs)
        trained = train(replace(job, monitored=monitored), Checkpoints(root, "a-0"))
        states.append(trained.network.state_dict())
        curves.append(trained.monitor.points)
    assert curves[0] != curves[1]
    assert equal(*states)
