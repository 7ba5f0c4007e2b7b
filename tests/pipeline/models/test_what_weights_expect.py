"""Weights that want other images than their name says: said once, and true wherever they go."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from pipeline.config.params import EmbedParams, ModelParams
from pipeline.errors import ModelError
from pipeline.models import build_encoder, settled
from pipeline.models.weights import add_weights
from pipeline.runtime.weights_folder import VARIABLE, stored_weights
from tests.pipeline.models.test_weights import ENCODER, timm_file

MODEL = ModelParams(encoder=ENCODER, encoder_weights="auto", normalisation="auto")
EMBED = EmbedParams(encoder=ENCODER, encoder_weights="auto", normalisation="auto")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own = tmp_path / "machine" / "weights"
    monkeypatch.setenv(VARIABLE, str(own))
    return own


@pytest.mark.parametrize("params", [MODEL, EMBED])
def test_whoever_begins_from_them_gets_both(
    tmp_path: Path, params: ModelParams | EmbedParams
) -> None:
    file = timm_file(tmp_path / "w.safetensors")
    kept = add_weights(
        file, ENCODER, normalisation="symmetric", encoder_options={"pad_type": "same"}
    )
    found = settled(params)
    assert found.encoder_weights == f"auto:{kept.sha256}"
    assert found.normalisation == "symmetric"
    assert found.encoder_options == {"pad_type": "same"}
    build_encoder(found)


def test_without_a_word_the_name_says_it(tmp_path: Path) -> None:
    add_weights(timm_file(tmp_path / "w.safetensors"), ENCODER)
    found = settled(MODEL)
    assert (found.normalisation, found.encoder_options) == ("imagenet", {})


def test_what_a_person_sets_goes_before_it(tmp_path: Path) -> None:
    file = timm_file(tmp_path / "w.safetensors")
    add_weights(file, ENCODER, normalisation="symmetric", encoder_options={"pad_type": "same"})
    mine = MODEL.model_copy(
        update={"normalisation": "imagenet", "encoder_options": {"pad_type": "", "drop_rate": 0.1}}
    )
    found = settled(mine)
    assert found.normalisation == "imagenet"
    assert found.encoder_options == {"pad_type": "", "drop_rate": 0.1}


def test_the_same_weights_are_not_kept_with_another_word(tmp_path: Path) -> None:
    file = timm_file(tmp_path / "w.safetensors")
    add_weights(file, ENCODER, normalisation="symmetric")
    add_weights(file, ENCODER, normalisation="symmetric")
    with pytest.raises(ModelError, match="kept already, with normalisation symmetric"):
        add_weights(file, ENCODER)
    assert stored_weights(ENCODER)[0].normalisation == "symmetric"


def test_options_that_the_encoder_does_not_take_keep_nothing(tmp_path: Path, folder: Path) -> None:
    file = timm_file(tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="no_such_option"):
        add_weights(file, ENCODER, encoder_options={"no_such_option": 3})
    assert stored_weights() == []


def test_the_command_says_it_and_the_list_shows_it(tmp_path: Path) -> None:
    file = str(timm_file(tmp_path / "w.safetensors"))
    words = ["weights", "add", file, "--encoder", ENCODER, "--normalisation", "symmetric"]
    result = CliRunner().invoke(main, [*words, "--set", "pad_type=same"])
    assert result.exit_code == 0, result.output
    assert "(symmetric, pad_type=same)" in CliRunner().invoke(main, ["weights", "list"]).output
    refused = CliRunner().invoke(main, [*words, "--set", "pad_type=[1, 2]"])
    assert refused.exit_code == 1
    assert "--set" in refused.output
    assert "pad_type" in refused.output
