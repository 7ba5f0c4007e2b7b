"""Advice on stopping in the tick: told by every round, and closing the domain only on `auto`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import repository
from db.session import session_scope
from flows.loop import Loop
from flows.tick import tick
from flows.views.status import describe, status
from pipeline import layout
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
# Any agreement at all will do, and one round.
HASTY: dict[str, Any] = {"stop_agreement": 0.0, "stop_rounds": 1}


def turn(loop: Loop, people: FakeAnnotator) -> str:
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))
    return tick(loop)


def test_every_round_advises_and_people_decide(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, pool=12, val=2)
    loop = open_toy(toy)
    loop.workspace.write_params({"loop": {**HASTY, "budget": 12}, "acquire": {"query_size": 4}})
    tick(loop)
    assert turn(loop, people) == "waiting 0/4: 4 open (day/r1)"
    now = status(loop)
    assert now.expected_minutes == 4 * 12
    assert "0/4 answered, about 48 min of work in all" in describe(now, [])
    found = json.loads(json.dumps(now.to_dict()))["stopping"]
    assert found["in_words"].startswith("Too few rounds to say what stopping would lose: 2")
    assert "Advice: stop: predictions on the stop set" in found["in_words"]
    assert (found["forecast"], found["closes"], len(found["agreements"])) == (None, False, 1)
    turn(loop, people)
    found = json.loads(json.dumps(status(loop).to_dict()))["stopping"]
    assert found["in_words"].startswith("If you stop now, expected loss 0.")
    assert found["forecast"]["num_left"] == 4
    # Eight answers: people's pace is known, so the next 4 images are 4 x 12 minutes.
    gain = found["forecast"]["gain"]["mean"]
    assert found["gain_per_hour"]["mean"] == pytest.approx(gain / (4 * 12 / 60))
    assert found["in_words"].split(".")[0] in describe(status(loop), [])
    # The same images in every round, as far as they have no label.
    kept = [
        np.load(io.BytesIO(loop.workspace.show(f"day/r{k}", layout.STOP_SET))).files
        for k in range(3)
    ]
    assert [len(names) for names in kept] == [12, 8, 4]
    assert set(kept[2]) < set(kept[1]) < set(kept[0])
    with session_scope(loop.ledger, read_only=True) as session:
        items = repository.query_items(session, "day", 2)
    assert [item.expected_minutes for item in items] == [12.0] * 4


def test_a_rule_closes_the_domain_as_a_spent_budget_does(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, pool=12, val=2)
    loop = open_toy(toy)
    loop.workspace.write_params({"loop": {**HASTY, "budget": 9, "stop": "auto"}})
    tick(loop)
    said = turn(loop, people)
    assert said.startswith("finished day at day/r1: predictions on the stop set agreed by")
    assert tick(loop) == said
    assert people.open_items() == []
    now = status(loop)
    assert now.finished
    assert now.asked == 0
    with session_scope(loop.ledger, read_only=True) as session:
        assert repository.query_items(session, "day", 1) == []
    page = (toy / layout.REPORT).read_text()
    assert "Nothing is asked for: predictions on the stop set" in page
    stage_domain(toy, "dusk", pool=5)
    assert tick(loop).endswith("(dusk/r0)")
