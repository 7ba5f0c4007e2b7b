"""A round goes on with a share of its answers; the rest stays open and counts when it comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.loop import Loop
from flows.rounds.close import close_round
from flows.rounds.round_facts import idle_time_of
from flows.situation import CampaignState, campaign_state, read_situation
from flows.tick import tick
from flows.verify import verify
from flows.views.status import describe, status
from pipeline.errors import WorkspaceError
from pipeline.records.manifest import Sample
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


@pytest.fixture
def loop(toy: Path, open_toy: Open) -> Loop:
    """day/r0 asks for four images of ten, of which the last was drawn at random."""
    stage_domain(toy, "day", labelled=2, pool=10, val=1)
    found = open_toy(toy)
    found.workspace.write_params(
        {"loop": {"close_at": 0.5, "budget": None}, "acquire": {"query_size": 4}}
    )
    assert tick(found) == "waiting 0/4: 4 open (day/r0)"
    return found


def answer(people: FakeAnnotator, *item_ids: str) -> None:
    for seed, item_id in enumerate(item_ids):
        people.answer(item_id, truth(seed))


def asked(loop: Loop) -> dict[str, int]:
    return {s.sample_id: s.asked for s in loop.workspace.manifest() if s.asked}


def sample(loop: Loop, item_id: str) -> Sample:
    by_id = {each.sample_id: each for each in loop.workspace.manifest()}
    return by_id[item_id.rpartition("/")[0]]


def test_half_of_the_answers_begin_the_next_round(loop: Loop, people: FakeAnnotator) -> None:
    first, second, third, random = people.open_items()
    answer(people, first, random)
    assert tick(loop) == "waiting 0/4: 4 open and 2 of earlier rounds (day/r1)"
    assert set(asked(loop)) == {second.removesuffix("/r0"), third.removesuffix("/r0")}
    new = [item_id for item_id in people.open_items() if item_id.endswith("/r1")]
    assert len(new) == 4
    assert not {item_id.removesuffix("/r1") for item_id in new} & set(asked(loop))
    assert not verify(loop).findings
    idle = idle_time_of(loop, "day")
    assert idle is not None
    assert idle.idle_minutes == 0 < idle.minutes


def test_answer_to_an_older_question_counts_with_the_next_merge(
    loop: Loop, people: FakeAnnotator
) -> None:
    first, second, third, random = people.open_items()
    answer(people, first, random)
    tick(loop)
    answer(people, *people.open_items())
    assert tick(loop) == "waiting 0/2: 2 open (day/r2)"
    assert asked(loop) == {}
    assert sample(loop, second).labelled
    assert sample(loop, third).labelled
    idle = idle_time_of(loop, "day")
    assert idle is not None
    # The toy's clock dates every answer before its question, so nobody ever had one.
    assert idle.idle_minutes == idle.minutes > 0


def test_random_picks_are_waited_for_since_they_judge(loop: Loop, people: FakeAnnotator) -> None:
    answer(people, *people.open_items()[:3])
    assert tick(loop) == "waiting 3/4: 1 open (day/r0)"


def test_last_query_of_a_budget_is_waited_for(loop: Loop, people: FakeAnnotator) -> None:
    loop.workspace.write_params({"loop": {"budget": 4}})
    first, *others = people.open_items()
    answer(people, *others)
    assert tick(loop) == "waiting 3/4: 1 open (day/r0)"
    answer(people, first)
    assert tick(loop).startswith("finished day at day/r1: budget of 4 spent")


def test_open_questions_count_for_the_budget(loop: Loop, people: FakeAnnotator) -> None:
    loop.workspace.write_params({"loop": {"budget": 6}})
    first, *_, random = people.open_items()
    answer(people, first, random)
    assert tick(loop) == "waiting 0/2: 2 open and 2 of earlier rounds (day/r1)"
    assert "2 merged and 2 still open of a budget of 6" in describe(status(loop), [])


def end_with_two_open(loop: Loop, people: FakeAnnotator) -> tuple[str, str]:
    """The campaign ends by its budget while two questions of its first round are open."""
    loop.workspace.write_params({"loop": {"budget": 6}})
    first, second, third, random = people.open_items()
    answer(people, first, random)
    tick(loop)
    answer(people, *(item_id for item_id in people.open_items() if item_id.endswith("/r1")))
    assert "2 question(s) are open" in tick(loop)
    return second, third


def test_campaign_that_ended_goes_on_with_the_last_open_answer(
    loop: Loop, people: FakeAnnotator
) -> None:
    second, third = end_with_two_open(loop, people)
    answer(people, second)
    assert "1 answer(s) came late" in tick(loop)
    answer(people, third)
    tick(loop)
    said = tick(loop)
    assert said.startswith("finished day at day/r3: budget of 6 spent")
    assert "open" not in said
    assert sample(loop, second).labelled
    assert sample(loop, third).labelled
    assert tick(loop) == said


def test_people_give_up_what_is_open_at_the_end(loop: Loop, people: FakeAnnotator) -> None:
    second, third = end_with_two_open(loop, people)
    answer(people, second)
    tick(loop)
    assert close_round(loop).startswith("1 open question(s) are not waited for")
    assert campaign_state(read_situation(loop)) is CampaignState.REOPENED
    assert tick(loop) == "waiting 0/1: 1 open (day/r3)"  # the budget has room for one again
    assert sample(loop, second).labelled
    assert not sample(loop, third).asked


def test_nothing_is_left_to_give_up(loop: Loop, people: FakeAnnotator) -> None:
    loop.workspace.write_params({"loop": {"budget": 4}})
    answer(people, *people.open_items())
    tick(loop)
    with pytest.raises(WorkspaceError, match="asks for nothing"):
        close_round(loop)


def test_unreadable_answer_to_an_older_question_is_sent_back(
    loop: Loop, people: FakeAnnotator
) -> None:
    first, second, _, random = people.open_items()
    answer(people, first, random)
    tick(loop)
    people.spoil(second)
    tick(loop)
    task = people.all_tasks()[people.task_id(second) - 1]["data"]
    assert task["returned"] == "yes"


def test_closed_round_leaves_nothing_open(loop: Loop, people: FakeAnnotator) -> None:
    answer(people, people.open_items()[0])
    tick(loop)
    close_round(loop)
    assert tick(loop) == "waiting 0/4: 4 open (day/r1)"
    assert asked(loop) == {}
