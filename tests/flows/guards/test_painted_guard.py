"""A tick refuses classes of another order than those that were painted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.domains.add import add_domain
from flows.loop import Loop
from flows.tick import tick
from pipeline import layout
from pipeline.data.formats import read_classes
from pipeline.data.painted_classes import write_classes
from pipeline.errors import ConfigError
from tests.flows.conftest import CLASSES, stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
SWAPPED = ["car", "road", "sky"]


def test_a_tick_refuses_other_names_and_goes_on_with_the_old_ones(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=1, pool=6)
    loop = open_toy(toy)
    assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    assert read_classes(toy / layout.CLASSES) == CLASSES
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))
    loop.workspace.write_params({"classes": SWAPPED})
    head = loop.workspace.head()
    with pytest.raises(ConfigError, match="road was 0 and is 1; car was 1 and is 0"):
        tick(loop)
    with pytest.raises(ConfigError, match="classes changed"):
        add_domain(toy, "dusk", images=toy)
    assert loop.workspace.head() == head
    (toy / layout.CLASSES).unlink()  # by what HEAD says, not the working copy
    with pytest.raises(ConfigError, match="classes changed"):
        tick(loop)
    write_classes(toy / layout.CLASSES, CLASSES)
    loop.workspace.write_params({"classes": [*CLASSES, "tree"]})
    state = json.loads(people.path.read_text())  # people set the label in the tool, as it asks
    for project in state["projects"].values():
        project["classes"] = [*CLASSES, "tree"]
    people.path.write_text(json.dumps(state))
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"
    assert read_classes(toy / layout.CLASSES) == (*CLASSES, "tree")
    loop.workspace.write_params({"classes": list(CLASSES)})
    with pytest.raises(ConfigError, match="tree was removed"):
        tick(loop)


def test_a_domain_that_waits_is_not_taken_in_under_other_names(toy: Path, open_toy: Open) -> None:
    stage_domain(toy, "day", labelled=1, pool=3)
    write_classes(toy / layout.INCOMING / "day" / "classes.csv", CLASSES)
    loop = open_toy(toy)
    loop.workspace.write_params({"classes": SWAPPED})
    with pytest.raises(ConfigError, match="road was 0 and is 1"):
        tick(loop)
    assert not loop.workspace.tags_merged()
    loop.workspace.write_params({"classes": list(CLASSES)})
    assert tick(loop).startswith("waiting")


def test_an_older_workspace_is_judged_by_its_last_merge(
    toy: Path, open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_domain(toy, "day", labelled=1, pool=6)
    loop = open_toy(toy)
    tick(loop)
    monkeypatch.setattr("flows.guards.painted_guard.layout.CLASSES", Path("data/none.csv"))
    loop.workspace.write_params({"classes": SWAPPED})
    with pytest.raises(ConfigError, match="road was 0 and is 1"):
        tick(loop)
