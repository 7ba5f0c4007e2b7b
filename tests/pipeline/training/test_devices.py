"""`train.precision` and `train.num_devices` in the stage as DVC calls it, on this machine's CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from flows.processes.command import child_environment
from pipeline import layout

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.programs
@pytest.mark.parametrize(
    ("knob", "said"),
    [({"precision": "bf16-mixed"}, "bfloat16"), ({"num_devices": 2}, "with 2 processes")],
)
def test_half_precision_and_two_processes_write_one_whole_model(
    make_workspace, tiny_params, knob: dict[str, object], said: str
) -> None:
    root = make_workspace(4, 4, val=2)
    params = tiny_params(train={"steps": 4, "device": "cpu", **knob})
    with (root / layout.PARAMS).open("w") as file:
        YAML().dump(params.model_dump(mode="json"), file)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "train_teacher"],
        cwd=root,
        env=child_environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout + done.stderr
    metrics = json.loads((root / layout.TEACHER_TRAINING).read_text())
    assert (metrics["steps"], len(metrics["loss"])) == (4, 4)
    weights = load_file(root / layout.TEACHER / "model.safetensors")
    floats = [value for value in weights.values() if value.is_floating_point()]
    assert {value.dtype for value in floats} == {torch.float32}
    assert all(bool(torch.isfinite(value).all()) for value in floats)
