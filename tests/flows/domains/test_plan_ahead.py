"""What will be trained is shown when images are brought, and a failure there stops nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from flows.cli import main
from flows.domains import plan_ahead
from flows.domains.incoming import waiting
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import Params
from pipeline.planning import gather_facts
from pipeline.planning.training_cost import TrainingCost
from pipeline.runtime.weights_folder import VARIABLE
from tests.flows.conftest import stage_domain


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub, no weights, and steps that nobody has to take."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights"))
    monkeypatch.setattr(plan_ahead, "bring_weights", lambda params: None)
    monkeypatch.setattr(gather_facts, "measure_training", cost)


def cost(params: Params, device: str) -> TrainingCost:
    return TrainingCost(step_s=0.5, supervised_step_s=0.2, memory_mib=100, megapixel_s=0.1)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def planned(toy: Path) -> Path:
    """A workspace that leaves the steps and the query's size to the plan."""
    Workspace(toy).write_params({"train": {"steps": "auto"}, "acquire": {"query_size": "auto"}})
    return toy


def add(root: Path, images: Path, *options: str) -> Result:
    words = ["domain", "add", "day", "--images", str(images), "-w", str(root), *options]
    return CliRunner().invoke(main, words, terminal_width=200)


def rows(result: Result) -> dict[str, dict[str, object]]:
    found = json.loads(result.stdout)["plan"]
    return {choice["knob"]: choice for choice in found["choices"]}


def test_the_plan_is_shown_with_reasons_minutes_and_memory(planned: Path, images: Path) -> None:
    result = add(planned, images)
    assert result.exit_code == 0, result.output
    assert result.output.index("domain day: 6 images") < result.output.index("train.steps")
    assert "a step takes 0.5 s here" in " ".join(result.output.split())
    assert "one sitting, of 6 images" in " ".join(result.output.split())
    assert "yours: as params.yaml says" in " ".join(result.output.split())
    assert "minutes a round and 100 MiB" in " ".join(result.output.split())


def test_it_is_what_the_command_plan_says(planned: Path, images: Path) -> None:
    shown = json.loads(add(planned, images, "--json").stdout)["plan"]
    said = CliRunner().invoke(main, ["plan", "--json", "-w", str(planned)])
    assert json.loads(said.stdout) == shown


def test_as_json_the_rest_is_said_beside(planned: Path, images: Path) -> None:
    result = add(planned, images, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["added"]["counts"]["pool"] == 6
    assert "domain day: 6 images" in result.stderr


def test_what_a_person_sets_wins_and_is_said(planned: Path, images: Path) -> None:
    Workspace(planned).write_params({"train": {"steps": 77}})
    found = rows(add(planned, images, "--json", "--query-size", "5", "--budget", "9"))
    assert (found["train.steps"]["value"], found["train.steps"]["yours"]) == (77, True)
    assert (found["acquire.query_size"]["value"], found["acquire.query_size"]["yours"]) == (
        2,
        False,
    )
    own = {knob: row["value"] for knob, row in found.items() if knob.startswith("domains.day.")}
    assert own == {"domains.day.query_size": 5, "domains.day.budget": 9}
    assert all(found[knob]["yours"] for knob in own)


def test_a_domain_that_waits_is_planned_for_as_if_it_were_current(
    planned: Path, images: Path
) -> None:
    """Another domain has labels and this one has none: a shift."""
    stage_domain(planned, "night", labelled=3, pool=3)
    found = json.loads(add(planned, images, "--json").stdout)["plan"]
    assert found["data"]["shifted"]
    assert found["data"]["num_images"] == 12


def test_where_every_knob_is_set_one_line_says_so(toy: Path, images: Path) -> None:
    result = add(toy, images)
    assert "every knob in params.yaml is yours" in result.output
    assert "train.steps" not in result.output
    assert json.loads(add_again(toy, images).stdout)["plan"] is None


def add_again(root: Path, images: Path) -> Result:
    words = ["domain", "add", "dusk", "--images", str(images), "-w", str(root), "--json"]
    return CliRunner().invoke(main, [*words, "--accept", "--keep-all"])


def test_without_wishing_it_there_is_none(planned: Path, images: Path) -> None:
    result = add(planned, images, "--no-plan")
    assert result.exit_code == 0
    assert "plan" not in result.output


@pytest.mark.parametrize("error", [RuntimeError("no room"), KeyboardInterrupt()])
def test_a_failure_stops_nothing(
    planned: Path, images: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(gather_facts, "measure_training", fail)
    result = add(planned, images)
    assert result.exit_code == 0
    assert "The domain day waits all the same; `ssl-loop plan` makes it later." in result.output
    assert waiting(planned) == ["day"]


def test_nothing_is_written(planned: Path, images: Path) -> None:
    before = (planned / layout.PARAMS).read_text()
    add(planned, images)
    assert (planned / layout.PARAMS).read_text() == before
    assert not (planned / layout.PLAN).exists()
