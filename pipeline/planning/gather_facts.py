"""What a plan decides by, looked up: images, machine, weights, and steps taken to be timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config.params import Params
from pipeline.planning.data_fingerprint import data_fingerprint
from pipeline.planning.machine import Device, this_machine
from pipeline.planning.plan_rules import Facts, Profile
from pipeline.planning.training_cost import TrainingCost, measure_training
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import say
from pipeline.runtime.weights_folder import stored_weights


def gather_facts(
    root: Path, params: Params, samples: Sequence[Sample], profile: Profile | None = None
) -> Facts:
    """Facts about the workspace at `root` and this machine; `profile` None = as params say.

    DataError where an image or mask cannot be read, ValueError without any sample.
    """
    machine = this_machine(params.train.device)
    return Facts(
        data=data_fingerprint(root, samples, params.classes, params.domain),
        machine=machine,
        profile=profile or params.profile,
        stored_encoders=tuple(dict.fromkeys(weights.encoder for weights in stored_weights())),
        cost=_Measured(machine.device),
    )


class _Measured:
    """Measures what was not measured yet: rules ask for the same training again and again."""

    def __init__(self, device: Device) -> None:
        self._device: Device = device
        self._known: dict[str, TrainingCost] = {}

    def __call__(self, params: Params) -> TrainingCost:
        knobs: dict[str, Any] = {
            "model": {"name", "options", "encoder", "encoder_options"},
            "image": True,
            "method": {"name", "options", "network_perturbation", "feature_perturbations"},
            "train": {"batch_labelled", "batch_unlabelled", "precision"},
            "classes": True,
        }
        key = params.model_dump_json(include=knobs)
        if key not in self._known:
            say(f"plan: taking some steps of {params.model.name}, {params.method.name}")
            self._known[key] = measure_training(params, self._device)
        return self._known[key]
