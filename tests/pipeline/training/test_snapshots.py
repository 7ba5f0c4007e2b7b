"""What is kept of a training beside its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline import layout
from pipeline.models import load_beside, load_model
from pipeline.stages import train_baseline, train_teacher
from pipeline.training.snapshots import Snapshots
from tests.support.trainings import equal, killed_after

KEEP = {"steps": 6, "keep_snapshots": True, "checkpoint_every_s": 0.0}


def weights_at_steps(num_steps: int, num_phases: int) -> list[float]:
    snapshots = Snapshots(num_steps, num_phases, [])
    network = nn.Linear(1, 1, bias=False)
    for done in range(1, num_steps + 1):
        nn.init.constant_(network.weight, float(done))
        snapshots.take(network, done)
    return [kept["weight"].item() for kept in snapshots.kept]


def test_they_are_taken_at_thirds_of_the_last_phase() -> None:
    assert weights_at_steps(300, 1) == [100, 200]
    assert weights_at_steps(300, 3) == [233, 267]
    assert weights_at_steps(4, 1) == [1, 3]


def beside(root: Path) -> dict[str, dict[str, torch.Tensor]]:
    model = load_model(root / layout.TEACHER)
    return {
        name: network.state_dict()
        for name, network in load_beside(root / layout.TEACHER, model).items()
    }


def test_student_and_snapshots_lie_beside_the_teacher_alone(make_workspace, tiny_params) -> None:
    root = make_workspace(2, 2)
    params = tiny_params(train=KEEP)
    train_teacher.run(root, params)
    train_baseline.run(root, params)
    found = beside(root)
    assert sorted(found) == ["snapshot_1", "snapshot_2", "student"]
    teacher = load_model(root / layout.TEACHER).network.state_dict()  # type: ignore[union-attr]
    states = [teacher, *found.values()]
    key = next(name for name in teacher if name.endswith("weight"))
    assert len({tuple(state[key].flatten().tolist()) for state in states}) == 4
    assert len(list((root / layout.BASELINE).iterdir())) == 2


@pytest.mark.heavy
def test_keeping_changes_nothing_of_the_teacher_and_nothing_kept_stays(
    make_workspace, tiny_params
) -> None:
    root = make_workspace(2, 2)
    weights = []
    for keep in (True, False):
        train_teacher.run(root, tiny_params(train={**KEEP, "keep_snapshots": keep}))
        weights.append((root / layout.TEACHER / "model.safetensors").read_bytes())
        assert bool(beside(root)) is keep
    assert weights[0] == weights[1]


@pytest.mark.heavy
def test_a_resumed_training_has_kept_the_same(make_workspace, tiny_params) -> None:
    root, params = make_workspace(2, 2), tiny_params(train=KEEP)
    train_teacher.run(root, params)
    whole = beside(root)
    with killed_after(3):
        train_teacher.run(root, params)
    train_teacher.run(root, params)
    resumed = beside(root)
    assert sorted(resumed) == sorted(whole)
    for name, state in whole.items():
        assert equal(resumed[name], state)
