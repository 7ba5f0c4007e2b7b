"""What a training may start from, and in which words it says that it may not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline import layout
from pipeline.errors import ModelError
from pipeline.models import load_model, save_untrained
from pipeline.stages import train_teacher
from pipeline.training.domain_adaptation.warm_start import last_teacher


@pytest.fixture
def trained(make_workspace, tiny_params) -> Path:
    """A folder whose teacher was handed over."""
    root = make_workspace(2, 2, val=0)
    train_teacher.run(root, tiny_params(train={"steps": 1}))
    shutil.copytree(root / layout.TEACHER, root / layout.PREVIOUS_TEACHER)
    return root


def test_it_is_the_last_teacher(trained: Path, tiny_params) -> None:
    found = last_teacher(trained, tiny_params(), "train_teacher")
    network = load_model(trained / layout.TEACHER).network
    assert found is not None
    assert network is not None
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())


def test_without_one_it_starts_anew_and_says_so(
    make_workspace, tiny_params, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_workspace(1, 1)
    assert last_teacher(root, tiny_params(), "train_teacher") is None
    save_untrained(root / layout.PREVIOUS_TEACHER, why="nothing was labelled")
    assert last_teacher(root, tiny_params(), "train_teacher") is None
    assert capsys.readouterr().err.count("no teacher of a round before") == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "unet"}}, "other model"),
        ({"model": {"normalisation": "symmetric"}}, "other model"),
    ],
)
def test_of_another_network_it_starts_anew_and_says_so(
    trained: Path, tiny_params, capsys: pytest.CaptureFixture[str], changes, words: str
) -> None:
    assert last_teacher(trained, tiny_params(**changes), "train_teacher") is None
    assert words in capsys.readouterr().err


def test_other_classes_start_anew(
    trained: Path, tiny_params, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tiny_params().model_copy(update={"classes": ("ground", "square", "tree")})
    assert last_teacher(trained, params, "train_teacher") is None
    assert "other classes" in capsys.readouterr().err


def test_another_path_to_the_encoders_file_is_no_other_network(trained: Path, tiny_params) -> None:
    config = trained / layout.PREVIOUS_TEACHER / "config.json"
    facts = json.loads(config.read_text())
    facts["model"]["encoder_weights"] = "elsewhere.safetensors"
    config.write_text(json.dumps(facts))
    assert last_teacher(trained, tiny_params(), "train_teacher") is not None


def test_weights_that_came_since_are_begun_from(
    trained: Path, tiny_params, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher that `auto` gave random weights is no reason to do without those that came."""
    config = trained / layout.PREVIOUS_TEACHER / "config.json"
    facts = json.loads(config.read_text())
    for then, now, goes_on in (
        ("auto:random", f"auto:{'1' * 64}", False),
        ("auto:random", "auto:random", True),
        (f"auto:{'1' * 64}", f"auto:{'2' * 64}", True),
        (None, f"auto:{'1' * 64}", True),
    ):
        facts["model"]["encoder_weights"] = then
        config.write_text(json.dumps(facts))
        params = tiny_params(model={"encoder_weights": now})
        assert (last_teacher(trained, params, "train_teacher") is not None) is goes_on
    assert capsys.readouterr().err.count("other start") == 1


def test_half_a_model_is_refused(trained: Path, tiny_params) -> None:
    (trained / layout.PREVIOUS_TEACHER / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        last_teacher(trained, tiny_params(), "train_teacher")
