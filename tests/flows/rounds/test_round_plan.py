"""What stands at `auto` is planned by the loop, written, told, and kept with the round's tag."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from flows.cli import main
from flows.domains import plan_ahead
from flows.loop import Loop
from flows.rounds import round_plan
from flows.rounds.round_plan import choose_plan
from flows.tick import tick
from flows.versions.restore import restore
from flows.views.round_report import render_report
from pipeline import layout
from pipeline.config.params import PLANNED_KNOBS, Params, left_to_the_plan, load_params
from pipeline.config.planned import in_blocks
from pipeline.errors import SslLoopError
from pipeline.planning import gather_facts
from pipeline.planning.training_cost import TrainingCost
from pipeline.runtime.weights_folder import VARIABLE
from tests.flows.conftest import stage_domain
from tests.support.stored_weights import put_weights

Open = Callable[[Path], Loop]
# Knobs that workspaces of the first release do not have.
SINCE = {
    "image": ("scale",),
    "model": ("contender",),
    "train": ("decoded_gib", "features_gib"),
    "loop": ("branch",),
}
AUTO = {"image": ("scale",), "train": ("learning_rate", "batch_labelled"), "method": ("ema_decay",)}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub, no weights, and steps that nobody has to take."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    for who in (round_plan, plan_ahead):
        monkeypatch.setattr(who, "bring_weights", lambda params: None)
    monkeypatch.setattr(gather_facts, "measure_training", cost)


def cost(params: Params, device: str) -> TrainingCost:
    return TrainingCost(step_s=0.5, supervised_step_s=0.2, memory_mib=100, megapixel_s=0.1)


@pytest.fixture
def loop(toy: Path, open_toy: Open) -> Loop:
    loop = open_toy(toy)
    loop.workspace.write_params({b: dict.fromkeys(knobs, "auto") for b, knobs in AUTO.items()})
    stage_domain(toy, "day", labelled=2, pool=4, val=2)
    loop.log = said.append
    said.clear()
    return loop


said: list[str] = []


def left(loop: Loop) -> dict[str, str]:
    return left_to_the_plan(loop.root / layout.PARAMS)


def test_a_round_keeps_what_was_planned_and_why(loop: Loop) -> None:
    tick(loop)
    chosen = left(loop)
    assert set(chosen) == {f"{block}.{knob}" for block, knobs in AUTO.items() for knob in knobs}
    assert all(text.startswith("auto:") for text in chosen.values())
    assert (
        loop.workspace.file_at("day/r0", layout.PARAMS).yaml()["train"]["batch_labelled"]
        == (chosen["train.batch_labelled"])
    )
    kept = json.loads(loop.workspace.show("day/r0", layout.PLAN))
    (scale,) = [choice for choice in kept["choices"] if choice["knob"] == "image.scale"]
    assert chosen["image.scale"] == f"auto:{json.dumps(scale['value'])}"
    assert scale["reason"]
    assert kept["data"]["num_images"] == 8
    (line,) = [line for line in said if line.startswith("plan: image.scale")]
    assert scale["reason"] in line
    assert any("minutes a round on this machine" in line for line in said)
    assert "# Every knob" in (loop.root / layout.PARAMS).read_text()


def test_the_report_says_what_was_planned_and_what_was_yours(loop: Loop) -> None:
    tick(loop)
    page = (loop.root / layout.REPORT).read_text()
    assert "What was planned, and why" in page
    kept = json.loads((loop.root / layout.PLAN).read_text())
    for choice in kept["choices"]:
        assert choice["knob"] in page
    (steps,) = [row for row in page.split("<tr>") if "train.steps" in row]
    assert "yours" in steps
    (scale,) = [row for row in page.split("<tr>") if "image.scale" in row]
    assert "yours" not in scale
    values = {knob: text.removeprefix("auto:") for knob, text in left(loop).items()}
    blocks = in_blocks({knob: json.loads(value) for knob, value in values.items()})
    loop.workspace.write_params(blocks)  # all of it a person's now
    render_report(loop)
    assert "What was planned" not in (loop.root / layout.REPORT).read_text()


def test_nothing_is_planned_where_nothing_stands_at_auto(toy: Path, open_toy: Open) -> None:
    before = (toy / layout.PARAMS).read_bytes()
    choose_plan(open_toy(toy))
    assert (toy / layout.PARAMS).read_bytes() == before
    assert not (toy / layout.PLAN).exists()


def again(loop: Loop) -> list[str]:
    said.clear()
    choose_plan(loop)
    return [line for line in said if line.startswith("plan:")]


def test_a_plan_stands_until_there_is_more_to_know(loop: Loop) -> None:
    tick(loop)
    chosen = left(loop)
    assert again(loop) == []
    put_weights("resnet18", "1" * 64, "2026-01-01")
    assert again(loop)
    assert left(loop) == chosen  # the same, but looked at
    assert again(loop) == []
    loop.workspace.write_params({"profile": "quick"})
    assert again(loop)
    assert json.loads((loop.root / layout.PLAN).read_text())["profile"] == "quick"
    loop.workspace.write_params({"train": {"learning_rate": "auto"}})
    assert any("train.learning_rate = 0.002" in line for line in again(loop))
    assert left(loop) == chosen


def test_what_a_person_sets_meanwhile_is_theirs(loop: Loop) -> None:
    tick(loop)
    loop.workspace.write_params({"train": {"batch_labelled": 3}, "profile": "best"})
    assert again(loop)
    assert "train.batch_labelled" not in left(loop)
    assert load_params(loop.root / layout.PARAMS).train.batch_labelled == 3


def test_killed_between_the_reasons_and_the_params_it_plans_again(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(loop.workspace), "write_params", killed)
        with pytest.raises(KeyboardInterrupt):
            tick(loop)
    assert "auto" in left(loop).values()
    tick(loop)
    assert "auto" not in left(loop).values()
    assert loop.workspace.exists_at("day/r0", layout.PLAN)


def test_a_damaged_plan_says_what_to_do(loop: Loop) -> None:
    tick(loop)
    (loop.root / layout.PLAN).write_text("{")
    with pytest.raises(SslLoopError, match=r"plan\.json.*write auto to a knob"):
        choose_plan(loop)
    loop.workspace.write_params({"train": {"learning_rate": "auto"}})
    choose_plan(loop)
    assert again(loop) == []


def command(loop: Loop, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["plan", "--workspace", str(loop.root), *words])
    return result.exit_code, result.output


def test_the_command_shows_and_changes_nothing(loop: Loop) -> None:
    tick(loop)
    before = (loop.root / layout.PARAMS).read_bytes()
    code, text = command(loop)
    assert code == 0
    assert "8 images" in text
    assert "image.scale" in text
    assert "yours: as params.yaml says" in " ".join(text.split())
    assert "minutes a round" in text
    code, text = command(loop, "--json", "--profile", "best", "--all")
    made = json.loads(text[text.index("{\n") :])
    assert made["profile"] == "best"
    assert not any(choice["yours"] for choice in made["choices"][:-1])
    assert (loop.root / layout.PARAMS).read_bytes() == before


def test_the_command_lets_the_next_round_plan_anew(loop: Loop) -> None:
    tick(loop)
    code, text = command(loop, "--write", "--profile", "quick")
    assert code == 0
    assert "4 knob(s) at auto" in text
    assert set(left(loop).values()) == {"auto"}
    assert load_params(loop.root / layout.PARAMS).profile == "quick"
    command(loop, "--write", "--all")
    assert set(left(loop)) == set(PLANNED_KNOBS)


def test_a_workspace_from_before_plans_comes_to_auto_and_its_tags_stay_as_they_were(
    toy: Path, open_toy: Open, tmp_path: Path
) -> None:
    """Params without any knob of since: they are read, tagged, brought to auto, and come back."""
    loop = open_toy(toy)
    params = toy / layout.PARAMS
    raw = YAML(typ="safe").load(params)
    raw.pop("profile", None)
    for block, knobs in SINCE.items():
        for knob in knobs:
            raw.get(block, {}).pop(knob, None)
    with params.open("w") as file:
        YAML().dump(raw, file)
    loop.workspace.git.run("add", "--", str(layout.PARAMS))
    loop.workspace.git.run("commit", "-qm", "as it was then", "--allow-empty")
    then = load_params(params)
    stage_domain(toy, "day", labelled=2, pool=4, val=2)
    tick(loop)
    assert not left(loop)
    code, text = command(loop, "--write", "--all")
    assert code == 0
    assert f"{len(PLANNED_KNOBS)} knob(s) at auto" in text
    choose_plan(loop)
    now = load_params(params)
    assert now.image.scale is not None
    assert now.train.learning_rate != then.train.learning_rate
    restore(str(toy), "day/r0", tmp_path / "old", lambda line: None)
    restored = load_params(tmp_path / "old" / layout.PARAMS)
    same = {"image", "train", "model", "method", "embed", "acquire"}
    assert restored.model_dump(include=same) == then.model_dump(include=same)
    assert (tmp_path / "old" / layout.TEACHER / "config.json").exists()


def test_images_that_wait_to_be_taken_in_are_planned_for(loop: Loop) -> None:
    code, text = command(loop, "--json", "--all")
    assert code == 0
    waiting = json.loads(text[text.index("{\n") :])
    tick(loop)
    _, text = command(loop, "--json", "--all")
    taken_in = json.loads(text[text.index("{\n") :])
    assert waiting["data"] == taken_in["data"]
    assert waiting["data"]["num_labelled"] == 2


def test_without_an_image_the_command_says_how_to_bring_some(toy: Path) -> None:
    result = CliRunner().invoke(main, ["plan", "--workspace", str(toy)])
    assert result.exit_code == 1
    assert "`ssl-loop domain add NAME --images DIR`" in result.output
