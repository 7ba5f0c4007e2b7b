"""What the demo plays with: knobs that hold, weights that fit, seeds that are not the encoder's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.demo import quickstart
from flows.demo.demo_settings import (
    DOMAINS,
    ENCODER,
    ENCODER_SEED,
    RATES,
    WEIGHTS,
    draw_domain,
    settings,
)
from flows.demo.simulate_annotator import behaviour
from flows.demo.street_encoder import make_encoder, recipe
from pipeline.config.params import parse_params
from pipeline.data.formats.images import load_image
from pipeline.data.synthetic.domains import CLASSES
from pipeline.errors import ServiceError
from pipeline.models import load_encoder_weights
from pipeline.models.encoders import EncoderChoice, whole_encoder

MOST_BYTES = 5_000_000


def test_the_knobs_hold_and_follow_the_seed() -> None:
    one, other = (
        parse_params({"classes": list(CLASSES), **settings(seed)}).model_dump() for seed in (0, 7)
    )
    assert {block for block in one if one[block] != other[block]} == {"train", "acquire"}
    assert (other["train"]["seed"], other["acquire"]["seed"]) == (7, 7)


def test_the_shipped_encoder_fits_and_is_what_the_demo_begins_from() -> None:
    choice = EncoderChoice(name=ENCODER, options={})
    report = load_encoder_weights(whole_encoder(choice), WEIGHTS, choice)
    assert report.unused == ()
    assert WEIGHTS.stat().st_size < MOST_BYTES
    for block in ("model", "embed"):
        knobs = settings(0)[block]
        assert (knobs["encoder"], knobs["encoder_weights"]) == (ENCODER, str(WEIGHTS))


def test_the_recipe_gives_a_file_that_fits(tmp_path: Path) -> None:
    out = tmp_path / "encoder.safetensors"
    make_encoder(tmp_path, out, num_scenes=8, steps=2)
    choice = EncoderChoice(name=ENCODER, options={})
    assert load_encoder_weights(whole_encoder(choice), out, choice).unused == ()
    assert out.stat().st_size == WEIGHTS.stat().st_size
    assert recipe("day", 2).model.encoder_weights is None


def test_the_persons_errors_are_known() -> None:
    assert behaviour(3, RATES).skip > 0


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.labelstudio.require_label_studio", lambda **_: None)


@pytest.mark.parametrize("seed", [-1, ENCODER_SEED])
@pytest.mark.usefixtures("installed")
def test_a_seed_of_the_encoders_scenes_is_refused(seed: int, tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["quickstart", str(tmp_path / "demo"), f"--seed={seed}"])
    assert told.exit_code != 0
    assert f"{seed}" in told.output
    assert "--seed" in told.output
    assert not (tmp_path / "demo").exists()


@pytest.mark.usefixtures("installed")
def test_what_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ServiceError("Prefect server does not answer")

    monkeypatch.setattr(quickstart, "prepare", refuse)
    told = CliRunner().invoke(main, ["quickstart", str(tmp_path / "demo")])
    assert told.exit_code == 1
    assert "Error: Prefect server does not answer" in told.output
    assert "Traceback" not in told.output


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.usefixtures("installed")
def test_nothing_of_anybody_else_is_removed(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "thesis"
    kept = place / "chapter.tex" if kind == "folder" else place
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work")
    told = CliRunner().invoke(main, ["quickstart", str(place)])
    assert told.exit_code == 1
    assert f"{place}: is there already and no earlier quickstart" in told.output
    assert kept.read_text() == "years of work"


def test_scenes_follow_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.demo.demo_settings.COUNTS", {"num_pool": 1, "num_val": 1})
    drawn = [draw_domain(DOMAINS[1], tmp_path / str(seed), seed) for seed in (0, 1)]
    first, second = (load_image(folder / "images/street_0000.png") for folder in drawn)
    assert not np.array_equal(first, second)
