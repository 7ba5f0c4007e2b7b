"""What a transductive teacher reached is marked wherever a flow shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from flows import run_page
from flows.demo import campaign
from flows.loop import Loop
from flows.rounds.round_facts import round_facts
from flows.tick import tick
from flows.views.status import describe, status
from pipeline import layout
from tests.flows.conftest import stage_domain


@pytest.fixture
def computed(toy: Path, open_toy: Callable[[Path], Loop], request: pytest.FixtureRequest) -> Loop:
    """Round 0 of a domain, by a teacher that is transductive or not."""
    params = toy / layout.PARAMS
    knob = f"transductive: {str(request.param).lower()}"
    params.write_text(params.read_text().replace("transductive: false", knob))
    loop = open_toy(toy)
    if request.param:
        loop.workspace.commit([layout.PARAMS], "Let val and test images join")
    stage_domain(toy, "day", labelled=2, pool=4, val=2)
    tick(loop)
    return loop


@pytest.mark.parametrize(
    ("computed", "marked"), [(True, True), (False, False)], indirect=["computed"]
)
def test_only_a_transductive_teacher_is_marked(
    computed: Loop,
    marked: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (row,) = round_facts(computed)
    assert row.transductive is marked
    found = status(computed)
    assert json.loads(json.dumps(found.to_dict()))["transductive"] is marked
    assert ("teacher (transductive) on val: day 0.167 mIoU" in describe(found, [])) is marked
    assert "  baseline on val: day 0.167 mIoU" in describe(found, [])
    shown = run_page._round_row(computed, "day", 0, "day/r0")
    assert shown["mIoU teacher"] == ("0.167 (transductive)" if marked else "0.167")
    assert shown["mIoU baseline"] == "0.167"
    monkeypatch.setattr(campaign, "open_loop", lambda root: nullcontext(computed))
    rich = campaign.DemoCampaign(computed.root, computed.root, Console()).table()
    Console(width=80).print(rich)
    text = capsys.readouterr().out
    assert ("0.167*" in text) is marked
    assert ("* transductive: learnt from val and test images" in text) is marked
