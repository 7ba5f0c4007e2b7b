"""What `auto` stands for is written by the loop, told, and the tag's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.guards.doctor import checks
from flows.loop import Loop
from flows.rounds import encoder_start
from flows.rounds.encoder_start import choose_weights, weights_warnings
from flows.tick import tick
from flows.views.status import describe, status
from pipeline import layout
from pipeline.config.params import load_params
from pipeline.runtime.weights_folder import (
    VARIABLE,
    stored_path,
    stored_weights,
)
from tests.flows.conftest import stage_domain
from tests.support.stored_weights import put_weights

Open = Callable[[Path], Loop]
ENCODER = "tu-mobilenetv2_100"
ONE, TWO = "1" * 64, "2" * 64
RANDOM = "starts from random weights; `ssl-loop weights fetch tu-mobilenetv2_100`"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    monkeypatch.setattr(encoder_start, "_chosen", choice)


def choice(encoder: str) -> str:
    """As without a network."""
    found = stored_weights(encoder)
    return f"auto:{found[0].sha256}" if found else "auto:random"


def leave_to_us(root: Path) -> None:
    file = root / layout.PARAMS
    file.write_text(file.read_text().replace("encoder_weights: null", "encoder_weights: auto"))


def chosen(root: Path) -> tuple[str | None, str | None]:
    params = load_params(root / layout.PARAMS)
    return params.model.encoder_weights, params.embed.encoder_weights


def test_null_is_left_alone_without_a_word(toy: Path, open_toy: Open) -> None:
    loop, said = open_toy(toy), list[str]()
    loop.log = said.append
    before = (toy / layout.PARAMS).read_bytes()
    choose_weights(loop)
    assert ((toy / layout.PARAMS).read_bytes(), said) == (before, [])
    assert weights_warnings(loop.read_params()) == []


def test_random_gives_way_to_weights_and_weights_stay(toy: Path, open_toy: Open) -> None:
    leave_to_us(toy)
    loop, said = open_toy(toy), list[str]()
    loop.log = said.append
    choose_weights(loop)
    assert chosen(toy) == ("auto:random", "auto:random")
    assert said[0] == "model.encoder_weights: auto stands for auto:random from this round on"
    assert RANDOM in said[-1]
    assert said[-1].startswith("WARNING: embed.encoder_weights: auto: encoder")
    put_weights(ENCODER, ONE, "2026-01-01")
    said.clear()
    choose_weights(loop)
    assert chosen(toy) == (f"auto:{ONE}", f"auto:{ONE}")
    assert said == [
        f"{block}.encoder_weights: auto:random stands for auto:{ONE} from this round on"
        for block in ("model", "embed")
    ]
    put_weights(ENCODER, TWO, "2026-01-02")
    choose_weights(loop)
    assert chosen(toy) == (f"auto:{ONE}", f"auto:{ONE}")
    assert "# Every knob" in (toy / layout.PARAMS).read_text()


def test_the_tag_keeps_what_was_chosen_and_the_next_round_begins_from_what_came(
    toy: Path, open_toy: Open
) -> None:
    leave_to_us(toy)
    stage_domain(toy, "day", labelled=2, pool=4, val=2)
    loop = open_toy(toy)
    tick(loop)
    assert "encoder_weights: auto:random" in loop.workspace.show("day/r0", layout.PARAMS).decode()
    found = describe(status(loop), [])
    assert found.count(RANDOM) == 2
    assert "Warning: model.encoder_weights: auto: encoder" in (toy / layout.REPORT).read_text()
    (one, _) = [check for check in checks(toy) if check.name == "weights"]
    assert not one.ok
    assert one.found.endswith("starts from random weights")
    assert one.remedy.startswith("`ssl-loop weights fetch")
    put_weights(ENCODER, ONE, "2026-01-01")
    assert "the next round begins from those" in describe(status(loop), [])
    choose_weights(loop)
    assert status(loop).weights == ()
    assert "weights" not in {check.name for check in checks(toy)}
    stored_path(ENCODER, ONE).unlink()
    assert "the weights 111111111111 that encoder" in describe(status(loop), [])
