"""Steps that are taken to be timed are steps of the method on the network that is planned."""

from __future__ import annotations

import pytest
import torch

from pipeline.config.params import Params, parse_params
from pipeline.errors import ModelError
from pipeline.models import build_model
from pipeline.planning import training_cost
from pipeline.planning.gather_facts import gather_facts
from pipeline.planning.machine import this_machine
from pipeline.planning.training_cost import measure_training


def params(size_px: int = 32, **blocks: object) -> Params:
    return parse_params(
        {
            "classes": ["a", "b"],
            "image": {"height_px": size_px, "width_px": size_px},
            "model": {"name": "pspnet_mini", "encoder": "resnet18"},
            "train": {"batch_labelled": 2, "batch_unlabelled": 2},
            **blocks,
        }
    )


def test_a_larger_crop_holds_more_and_a_teacher_costs_more() -> None:
    small, large = (measure_training(params(size), "cpu") for size in (32, 128))
    assert large.memory_mib > small.memory_mib
    assert large.step_s > large.supervised_step_s > 0
    assert large.megapixel_s > 0


@pytest.mark.parametrize(
    "method",
    [
        {"name": "flexmatch"},  # remembers every image of the set
        {"name": "mean_teacher", "network_perturbation": "initialisation"},
        {"name": "soft_teacher", "options": {"background": 1}},
    ],
)
def test_what_is_the_methods_own_is_measured_and_its_baseline_goes_without(method: dict) -> None:
    assert measure_training(params(method=method), "cpu").supervised_step_s > 0


def test_memory_is_weights_fivefold_and_what_the_gradient_needs() -> None:
    found = measure_training(params(method={"name": "supervised"}), "cpu").memory_mib
    network = build_model(params().model, 2, pretrained=False).train()
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[len(kept)] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.randn(2, 3, 32, 32)).sum()
    weights = sum(p.nbytes for p in network.parameters())
    assert found == pytest.approx((sum(kept.values()) + 5 * weights) / 2**20, rel=0.02)


def test_a_network_that_cannot_be_built_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="no_such_net"):
        measure_training(params(model={"name": "no_such_net"}), "cpu")


def test_the_same_training_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    asked = []

    def measured(of: Params, device: str) -> training_cost.TrainingCost:
        asked.append(of.train.batch_labelled)
        return training_cost.TrainingCost(
            step_s=1, supervised_step_s=1, memory_mib=1, megapixel_s=1
        )

    from pipeline.planning import gather_facts as module

    monkeypatch.setattr(module, "measure_training", measured)
    monkeypatch.setattr(module, "data_fingerprint", lambda *_: None)
    cost = gather_facts(tmp_path, params(), []).cost
    cost(params())
    cost(params().with_knobs(train={"steps": 7}))  # as dear a step
    cost(params().with_knobs(train={"batch_labelled": 4}))
    assert asked == [2, 4]


def test_a_device_that_is_asked_for_is_taken() -> None:
    found = this_machine("cpu")
    assert found.device == "cpu"
    assert found.memory_gib > 0.5
    assert found.cores >= 1
