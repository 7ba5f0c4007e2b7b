"""Campaigns with a budget, without one, and with one that people change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.session import open_ledger
from flows.loop import Loop
from flows.rounds.close import close_round
from flows.situation import CampaignState, campaign_state, read_situation
from flows.tick import tick
from flows.verify import verify
from flows.versions.history import history, in_words
from flows.views.status import describe, status
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import ConfigError, WorkspaceError
from tests.flows.conftest import CLASSES, stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator
from tests.support.quick_dvc import quick_dvc

Open = Callable[[Path], Loop]
SPENT = "budget of 3 spent; raise loop.budget in params.yaml to go on"


def turn(loop: Loop, people: FakeAnnotator) -> str:
    """People answer all that is open, then the loop goes on."""
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))
    return tick(loop)


def said(loop: Loop) -> str:
    return describe(status(loop), [])


def state(loop: Loop) -> CampaignState:
    return campaign_state(read_situation(loop))


def set_budget(loop: Loop, budget: int | None) -> None:
    loop.workspace.write_params({"loop": {"budget": budget}})


@pytest.fixture(scope="module")
def spent_toy(asked_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace that ended at day/r1, its budget of three being spent."""
    base = tmp_path_factory.mktemp("spent")
    shutil.copytree(asked_toy, base, dirs_exist_ok=True, symlinks=True)
    people = FakeAnnotator(base / "tool.json", CLASSES)
    loop = Loop(
        workspace=Workspace(base / "workspace"),
        ledger=open_ledger(base / "workspace" / layout.LEDGER),
        log=lambda line: None,
        annotator_factory=lambda *_: people,
    )
    set_budget(loop, 3)
    with quick_dvc():
        assert turn(loop, people) == f"finished day at day/r1: {SPENT}"
    loop.ledger.close()
    return base


@pytest.fixture
def spent(spent_toy: Path, tmp_path: Path, open_toy: Open) -> Loop:
    """A loop on a copy of it."""
    shutil.copytree(spent_toy, tmp_path, dirs_exist_ok=True, symlinks=True)
    return open_toy(tmp_path / "workspace")


def test_without_a_budget_the_loop_asks_until_nothing_is_left(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    set_budget(loop, None)
    assert "answers: 0 merged, no budget set: the loop asks on." in said(loop)
    assert "the stopping rules only advise (loop.stop: advise)" in said(loop)
    loop.workspace.write_params({"loop": {"stop": "auto", "stop_agreement": 1.0}})
    assert "the stopping rules close it too (loop.stop: auto)" in said(loop)
    heard = [turn(loop, people) for _ in range(3)]
    assert heard[:2] == ["waiting 0/3: 3 open (day/r1)", "waiting 0/2: 2 open (day/r2)"]
    assert heard[2] == "finished day at day/r3: nothing left to ask"
    assert "domain day, round 3: finished: nothing left to ask\n" in said(loop)
    assert "Nothing is asked for: nothing left to ask." in (asked / layout.REPORT).read_text()
    set_budget(loop, 99)
    assert state(loop) is CampaignState.ANSWERED


def test_without_a_budget_people_end_the_domain(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    set_budget(loop, None)
    assert "`domains.day.budget: 0` in params.yaml ends it after this round" in said(loop)
    loop.workspace.write_params({"domains": {"day": {"budget": 0}}})
    assert "0 merged of a budget of 0 (domains.day.budget): no later round asks" in said(loop)
    last = turn(loop, people)
    assert last.startswith("finished day at day/r1: budget of 0 spent, with 3 answers; raise domai")


def test_a_domain_that_waits_for_one_without_a_budget_is_told_how_to_get_its_turn(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    stage_domain(asked, "dusk", pool=4)
    assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    assert "answers: 0 merged of a budget of 6 (loop.budget)\n" in said(loop)
    assert "domains waiting: dusk; day has not spent its budget: `ssl-loop round" in said(loop)
    set_budget(loop, None)
    waiting = tick(loop)
    assert waiting.startswith("waiting 0/3: 3 open (day/r0); dusk waits, and no budget ends this")
    assert waiting.endswith("`ssl-loop round close` does")
    assert "domains waiting: dusk; day has no budget that would end it: `ssl-loop ro" in said(loop)
    close_round(loop)
    assert tick(loop) == "waiting 0/3: 3 open (dusk/r0)"
    # What was left for the next domain stays so, whatever its budget.
    loop.workspace.write_params({"domains": {"day": {"budget": 99}}})
    assert state(loop) is CampaignState.ASKING
    assert read_situation(loop).current.tag == "dusk/r0"


def test_a_larger_budget_opens_the_campaign_again(spent: Loop, people: FakeAnnotator) -> None:
    assert f"finished: {SPENT}\n" in said(spent)
    set_budget(spent, 5)
    assert "finished before, and there is to ask or to learn from: the next tick goes on" in said(
        spent
    )
    assert not status(spent).finished
    assert tick(spent) == "waiting 0/2: 2 open (day/r2)"
    assert "campaign ended (day/final), and was opened again\n" in in_words(history(spent))
    assert not verify(spent, quick=True).findings
    assert turn(spent, people).startswith("finished day at day/r3: budget of 5 spent; raise")
    # An end that was named keeps its name, here and at every remote.
    ends = {"day/final": "day/r1", "day/final-2": "day/r3"}
    revision = spent.workspace.revision
    assert {tag: revision(tag) for tag in ends} == {tag: revision(at) for tag, at in ends.items()}
    assert "campaign ended (day/final-2)\n" in in_words(history(spent))
    before = spent.workspace.tags_merged()
    assert tick(spent).startswith("finished day at day/r3")
    assert spent.workspace.tags_merged() == before
    assert not verify(spent, quick=True).findings


def test_budgets_that_open_a_campaign_and_budgets_that_do_not(spent: Loop) -> None:
    for larger in (4, None):
        set_budget(spent, larger)
        assert state(spent) is CampaignState.REOPENED
    for other in (3, 2, 0):
        set_budget(spent, other)
        assert state(spent) is CampaignState.ANSWERED
        more = ", with 3 answers" if other != 3 else ""
        assert f"finished: budget of {other} spent{more}; raise loop.budget" in said(spent)
    spent.workspace.write_params({"domains": {"day": {"budget": 4}}})
    assert state(spent) is CampaignState.REOPENED
    for bad in (-1, 1.5, "many", [3]):
        with pytest.raises(ConfigError, match=r"loop.budget"):
            spent.workspace.write_params({"loop": {"budget": bad}})


def test_answers_that_came_late_are_merged_as_the_campaign_opens_again(
    spent: Loop, people: FakeAnnotator
) -> None:
    people.edit(max(people.annotation_ids()), truth(99))
    assert tick(spent).endswith("1 answer(s) came late and wait for the next merge")
    set_budget(spent, 6)
    tick(spent)
    assert status(spent).unmerged == 0


def test_a_round_that_taught_nothing_new_says_nothing_about_stopping(spent: Loop) -> None:
    before = status(spent).stopping
    set_budget(spent, 6)
    tick(spent)
    now = status(spent).stopping
    assert before is not None
    assert now is not None
    assert (now.num_rounds, now.agreements) == (before.num_rounds, before.agreements)


def test_a_budget_that_changes_while_a_round_is_open_counts_from_the_next_on(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    set_budget(loop, 5)
    assert turn(loop, people) == "waiting 0/2: 2 open (day/r1)"
    set_budget(loop, 1)
    assert "3 merged of a budget of 1 (loop.budget): no later round asks for more" in said(loop)
    assert "budget of 1 spent, with 5 answers" in turn(loop, people)


def test_a_budget_that_is_raised_between_the_query_and_its_commit_counts(
    asked: Path, open_toy: Open, people: FakeAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """params.yaml at the tag says the new one, dvc.lock that the query was made by the old one."""
    loop = open_toy(asked)
    set_budget(loop, 3)
    commit = loop.workspace.commit

    def raise_it(paths: Any, message: str, **known: Any) -> str | None:
        if message == "Round 1 of day":
            set_budget(loop, 6)
        return commit(paths, message, **known)

    monkeypatch.setattr(loop.workspace, "commit", raise_it)
    assert turn(loop, people) == "waiting 0/3: 3 open (day/r2)"


def test_a_query_that_is_empty_for_another_reason_is_not_made_again_and_again(
    spent: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the budget that dvc.lock has, the round could have asked already."""
    from flows.rounds import reopening

    set_budget(spent, 6)
    read = reopening.locked_stages

    def larger_then(document: Any) -> Any:
        stages = read(document)
        stages["acquire"]["params"][str(layout.PARAMS)]["loop.budget"] = 6
        return stages

    monkeypatch.setattr(reopening, "locked_stages", larger_then)
    assert state(spent) is CampaignState.ANSWERED
    assert "finished: its query is empty" in said(spent)


def test_killed_as_it_opens_again_the_next_tick_goes_on(
    spent: Loop, people: FakeAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(spent, 6)
    tag = spent.workspace.tag

    def killed(name: str, *arguments: Any, **known: Any) -> None:
        tag(name, *arguments, **known)
        raise KeyboardInterrupt

    for place in ("day/r1-labels", "day/r2"):
        monkeypatch.setattr(spent.workspace, "tag", killed)
        with pytest.raises(KeyboardInterrupt):
            tick(spent)
        assert place in spent.workspace.tags_merged()
    monkeypatch.setattr(spent.workspace, "tag", tag)
    assert tick(spent) == "waiting 0/3: 3 open (day/r2)"
    assert not verify(spent, quick=True).findings


def test_a_stopping_rule_that_closed_the_domain_outlasts_a_larger_budget(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    rules = {"stop": "auto", "stop_agreement": 0.0, "stop_rounds": 1}
    loop.workspace.write_params({"loop": rules})
    assert turn(loop, people).startswith("finished day at day/r1: predictions on the stop set")
    set_budget(loop, None)
    assert state(loop) is CampaignState.ANSWERED


def test_a_round_that_asks_for_nothing_cannot_be_closed(spent: Loop) -> None:
    with pytest.raises(WorkspaceError, match="day/r1 asks for nothing"):
        close_round(spent)


def test_a_larger_budget_comes_before_a_domain_that_waits(spent: Loop) -> None:
    stage_domain(spent.root, "dusk", pool=6)
    assert "domains waiting: dusk, taken in by the next tick" in said(spent)
    set_budget(spent, 6)
    assert "the next tick goes on" in said(spent)
    assert "domains waiting: dusk; day has not spent its budget" in said(spent)
    assert state(spent) is CampaignState.REOPENED
