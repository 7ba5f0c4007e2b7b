"""A device that this machine does not have is refused by the knob's name, before a stage starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.processes.command import child_environment
from pipeline.config.params import TrainParams
from pipeline.errors import ConfigError
from pipeline.inference.logits import pick_device
from pipeline.runtime.devices import missing_device, require_device


@pytest.fixture(params=["cuda", "mps"])
def absent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    return str(request.param)


def test_refused_by_name(absent: str) -> None:
    words = f"train.device = '{absent}': this machine has none"
    with pytest.raises(ConfigError, match=words):
        require_device(TrainParams(device=absent))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        pick_device(absent)


def test_too_few_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert missing_device(TrainParams(device="cuda", num_devices=2)) == ""
    said = missing_device(TrainParams(device="cuda", num_devices=3))
    assert said.startswith("train.num_devices = 3: this machine has 2 of train.device = 'cuda'")


def test_anywhere_is_fine() -> None:
    for device in ("auto", "cpu"):
        assert missing_device(TrainParams(device=device)) == ""  # type: ignore[arg-type]


@pytest.mark.programs
def test_a_stage_says_so_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("classes: [a, b]\ntrain: {device: cuda}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "train_teacher", "--root", str(tmp_path)],
        env=child_environment(CUDA_VISIBLE_DEVICES=""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("train_teacher: train.device = 'cuda': this machine has none")
    assert "Traceback" not in done.stderr
