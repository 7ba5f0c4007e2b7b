from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.campaign.spending import Spending, describe, spending, why_spent
from pipeline.config.params import Params, parse_params
from pipeline.records.manifest import Sample

SAMPLES = [
    Sample(sample_id=name, domain=name.split("/")[0], image="i", image_sha256="0", **known)
    for name, known in {
        "day/answered": {"split": "pool", "mask": "m", "origin": "annotated"},
        "day/answered-val": {"split": "val", "mask": "m", "origin": "annotated"},
        "day/refused": {"split": "pool", "skips": 2},
        "day/given": {"split": "pool", "mask": "m", "origin": "ground_truth"},
        "day/blank": {"split": "pool", "left_out": "blank"},
        "day/regions": {"split": "pool", "mask": "m", "origin": "annotated", "regions": "0,0,9,9"},
        "day/open": {"split": "pool"},
        "dusk/answered": {"split": "pool", "mask": "m", "origin": "annotated"},
        "dusk/open": {"split": "pool"},
    }.items()
]


def params_of(general: int | None, own: int | None = None, **acquire: Any) -> Params:
    return parse_params(
        {
            "classes": ["a", "b"],
            "domain": "day",
            "domains": {"day": {"budget": own}, "dusk": {}},
            "image": {"height_px": 64, "width_px": 64},
            "acquire": acquire,
            "loop": {"budget": general},
        }
    )


def of_day(general: int | None, own: int | None = None, **acquire: Any) -> Spending:
    return spending(SAMPLES, params_of(general, own, **acquire), "day")


def test_answers_candidates_and_the_budget_are_the_domain_s() -> None:
    assert of_day(9) == Spending(spent=4, budget=9, knob="loop.budget", candidates=1)
    # Of the image with a known region the other 15, of the open one all 16.
    assert of_day(9, query_unit="region", region_size_px=16).candidates == 31
    assert of_day(None).budget is None
    assert (of_day(9, 2).budget, of_day(9, 2).knob) == (2, "domains.day.budget")
    assert of_day(None, 2).left == 0


@pytest.mark.parametrize(
    ("budget", "left", "may_ask"), [(None, None, True), (5, 1, True), (4, 0, False), (0, 0, False)]
)
def test_what_is_left_is_never_negative(
    budget: int | None, left: int | None, may_ask: bool
) -> None:
    found = of_day(budget)
    assert (found.left, found.may_ask) == (left, may_ask)


def test_it_is_told_in_words() -> None:
    assert describe(of_day(9)) == "4 merged of a budget of 9 (loop.budget)"
    assert describe(of_day(3)).endswith("(loop.budget): no later round asks for more")
    assert describe(of_day(None)) == "4 merged, no budget set"
    to_go_on = "raise loop.budget in params.yaml to go on"
    assert why_spent(of_day(4)) == f"budget of 4 spent; {to_go_on}"
    assert why_spent(of_day(3)) == f"budget of 3 spent, with 4 answers; {to_go_on}"
    assert "raise domains.day.budget" in why_spent(of_day(9, 1))
    # Where nothing is left, no budget would bring anything.
    for budget in (None, 4):
        nothing = Spending(spent=4, budget=budget, knob="loop.budget", candidates=0)
        assert why_spent(nothing) == "nothing left to ask"


def test_questions_that_are_open_take_their_part_of_the_budget() -> None:
    asked = replace(SAMPLES[-1], sample_id="day/asked", domain="day", asked=2)
    found = spending([*SAMPLES, asked], params_of(9), "day")
    assert found == replace(of_day(9), open=2)
    assert (found.left, of_day(9).left) == (3, 5)
    assert describe(found) == "4 merged and 2 still open of a budget of 9 (loop.budget)"
    spent = spending([*SAMPLES, asked], params_of(6), "day")
    assert why_spent(spent).startswith("budget of 6 spent, with 4 answers and 2 open questions;")


def test_another_query_follows_where_candidates_and_budget_are_left() -> None:
    one = of_day(9)
    assert one.may_ask_beyond(0)
    assert not one.may_ask_beyond(1)  # its only candidate is asked for then
    assert replace(one, candidates=20).may_ask_beyond(4)
    assert not replace(one, candidates=20).may_ask_beyond(5)
    assert replace(one, candidates=20, budget=None).may_ask_beyond(19)
