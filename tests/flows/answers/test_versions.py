"""What people answered is what counts: late, edited, starred, taken back, spoilt, put back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from db.repository import facts
from db.session import session_scope
from flows.annotators.annotator import ToolStateError
from flows.answers.unmerged import unmerged
from flows.guards.tool_repair import adopt, put_back
from flows.loop import Loop
from flows.rounds import round_progress as progress_module
from flows.rounds.close import close_round
from flows.steps.merge import merge
from flows.tick import tick
from flows.verify import verify
from flows.views.status import status
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.flows.answers.conftest import Desk, same
from tests.flows.conftest import truth

Open = Callable[[Path], Loop]


def test_answers_stamped_by_a_clock_that_was_ahead_hide_none_after_them(desk: Desk) -> None:
    first = desk.people.answer(desk.items[0], truth(1))
    desk.people.update(first, clock=10_000)
    desk.look()
    desk.people.answer(desk.items[1], truth(2))  # by the mended clock
    desk.people.edit(first, truth(3))
    desk.look()
    assert same(desk.kept(desk.items[1]), 2)
    assert same(desk.kept(desk.items[0]), 3)


def test_the_starred_answer_counts(desk: Desk) -> None:
    good = desk.people.answer(desk.items[0], truth(1))
    desk.people.update(good, ground_truth=True)
    desk.look()
    desk.people.answer(desk.items[0], truth(2))
    desk.look()
    assert same(desk.kept(desk.items[0]), 1)


def test_a_deleted_answer_is_withdrawn_and_asked_for_again(desk: Desk) -> None:
    taken_back = desk.people.answer(desk.items[0], truth(1))
    desk.people.answer(desk.items[1], truth(2))
    desk.look()
    desk.people.delete_annotation(taken_back)
    assert str(desk.look()) == "1/3: 2 open"
    assert any("withdrawn" in line and "deleted" in line for line in desk.said)
    desk.people.answer(desk.items[0], truth(3))
    assert desk.look().answered == 2
    assert same(desk.kept(desk.items[0]), 3)


def test_skipping_ones_own_answer_takes_it_back(desk: Desk) -> None:
    answer = desk.people.answer(desk.items[0], truth(1))
    desk.look()
    desk.people.update(answer, cancelled=True, result=[])
    desk.look()
    assert desk.counting() == {}
    assert desk.verdicts(desk.items[0]) == ["accepted", "skipped"]


def test_anothers_skip_takes_nothing_back(desk: Desk) -> None:
    desk.people.answer(desk.items[0], truth(1))
    desk.people.skip(desk.items[0])
    desk.look()
    assert same(desk.kept(desk.items[0]), 1)


def test_an_answer_withdrawn_after_its_merge_leaves_the_training_set(desk: Desk) -> None:
    answers = [desk.people.answer(item, truth(seed)) for seed, item in enumerate(desk.items)]
    assert tick(desk.loop) == "waiting 0/3: 3 open (day/r1)"
    assert list((desk.loop.root / layout.INBOX).iterdir()) == []  # git and DVC have it
    desk.people.delete_annotation(answers[0])
    tick(desk.loop)
    sample_id = desk.items[0].removesuffix("/r0")
    assert unmerged(desk.loop) == [sample_id]
    assert status(desk.loop).unmerged == 1
    close_round(desk.loop)
    assert "(day/r2)" in tick(desk.loop)
    by_id = {sample.sample_id: sample for sample in desk.loop.workspace.manifest()}
    assert (by_id[sample_id].mask, by_id[sample_id].origin) == ("", "")
    assert not (desk.loop.root / "data/day/masks" / f"{Path(sample_id).name}.png").exists()
    assert same(desk.mask(desk.items[1]), 1)
    assert unmerged(desk.loop) == []


def test_a_mask_that_was_damaged_in_the_inbox_is_not_merged(desk: Desk) -> None:
    for seed, item in enumerate(desk.items):
        desk.people.answer(item, truth(seed))
    desk.look()
    digest = desk.counting()[desk.items[0]]
    Image.fromarray(truth(9)).save(desk.loop.root / layout.INBOX / f"{digest}.png")
    with pytest.raises(WorkspaceError, match=rf"{digest}\.png is missing or damaged"):
        merge(desk.loop, desk.loop.require_position())


def records_in(inbox: Path) -> dict[str, dict[str, Any]]:
    """By file name; of a withdrawal the loop says itself that no task is meant."""
    found = {path.name: json.loads(path.read_bytes()) for path in inbox.glob("*.json")}
    return {name: {**said, "project_id": 0, "task_id": 0} for name, said in found.items()}


def test_an_inbox_that_is_gone_is_filled_again_from_the_tool(desk: Desk) -> None:
    desk.people.answer(desk.items[0], truth(1))
    desk.people.skip(desk.items[1])
    taken_back = desk.people.answer(desk.items[2], truth(3))
    desk.look()
    desk.people.delete_annotation(taken_back)
    desk.look()
    inbox = desk.loop.root / layout.INBOX
    before = records_in(inbox)
    shutil.rmtree(inbox)
    desk.look()
    # What was said before it was taken back is gone with the inbox, here and in the tool.
    (gone,) = [name for name in before if f"-{taken_back}-" in name and "accepted" in name]
    assert records_in(inbox) == {name: said for name, said in before.items() if name != gone}
    assert same(desk.kept(desk.items[0]), 1)
    desk.said.clear()
    desk.look()
    assert desk.said == []


def test_a_round_merges_whole_after_its_inbox_was_deleted(desk: Desk) -> None:
    desk.people.answer(desk.items[0], truth(1))
    tick(desk.loop)
    shutil.rmtree(desk.loop.root / layout.INBOX)
    for seed, item in enumerate(desk.items[1:], start=2):
        desk.people.answer(item, truth(seed))
    tick(desk.loop)
    assert same(desk.mask(desk.items[0]), 1)
    assert verify(desk.loop).findings == ()


def test_a_spoilt_answer_stays_in_the_tool_and_says_why(desk: Desk) -> None:
    spoilt = desk.people.spoil(desk.items[0])
    assert str(desk.look()) == "0/3: 3 open"
    task = desk.people.all_tasks()[desk.people.task_id(desk.items[0]) - 1]["data"]
    assert task["returned"] == "yes"
    desk.people.edit(spoilt, truth(1))  # its author mends it
    assert desk.look().answered == 1
    assert same(desk.kept(desk.items[0]), 1)
    desk.look()
    task = desk.people.all_tasks()[desk.people.task_id(desk.items[0]) - 1]["data"]
    assert (task["returned"], "SENT BACK" in task["reason"]) == ("", False)
    assert spoilt in desk.people.annotation_ids()


def test_a_double_click_on_a_spoilt_answer_spends_one_asking(desk: Desk) -> None:
    first = desk.people.spoil(desk.items[0])
    desk.people.update(desk.people.spoil(desk.items[0]), clock=first - 1000)
    assert str(desk.look()) == "0/3: 3 open"


def test_a_spoilt_edit_takes_no_mask_back(desk: Desk) -> None:
    answer = desk.people.answer(desk.items[0], truth(1))
    desk.look()
    desk.people.spoil_again(answer)
    assert desk.look().answered == 1
    assert same(desk.kept(desk.items[0]), 1)


def test_the_same_request_twice_makes_two_tasks_of_which_either_may_be_answered(
    desk: Desk,
) -> None:
    twins = [
        desk.people.import_task(desk.project_id, task["data"]) for task in desk.people.all_tasks()
    ]
    desk.people.answer_task(twins[0], truth(1))
    desk.people.answer(desk.items[1], truth(2))  # the newest of two tasks, as `answer` takes it
    desk.people.answer_task(desk.people.all_tasks()[1]["task_id"], truth(3))
    assert str(desk.look()) == "2/3: 1 open"
    assert same(desk.kept(desk.items[0]), 1)
    assert same(desk.kept(desk.items[1]), 3)
    assert "Already answered in task" in desk.people.all_tasks()[0]["data"]["reason"]
    again = len(desk.people.all_tasks())
    desk.look()
    assert len(desk.people.all_tasks()) == again


def test_a_task_that_the_tool_cannot_give_holds_up_no_other(desk: Desk) -> None:
    for seed, item_id in enumerate(desk.items):
        desk.people.answer(item_id, truth(seed))
    broken = desk.people.task_id(desk.items[1])
    desk.people.broken.add(broken)
    progress = desk.look()
    assert (progress.answered, progress.settled) == (2, False)
    assert f"task {broken}" in str(progress)
    desk.people.broken.clear()
    assert desk.look().settled
    assert same(desk.kept(desk.items[1]), 1)


def test_a_tool_set_back_to_an_older_backup_is_not_believed(desk: Desk) -> None:
    for seed, item_id in enumerate(desk.items):
        desk.people.answer(item_id, truth(seed))
    desk.look()
    before = desk.counting()
    for annotation_id in desk.people.annotation_ids():
        desk.people.delete_annotation(annotation_id)
    with pytest.raises(ToolStateError, match=r"3 newest answers.*restore.*adopt"):
        desk.look()
    assert desk.counting() == before
    assert put_back(desk.loop, "day").answers == 3
    assert desk.look().settled
    assert desk.counting() == before


def test_a_person_may_say_that_all_answers_were_taken_back(desk: Desk) -> None:
    for item_id in desk.items:
        desk.people.answer(item_id, truth(1))
    desk.look()
    for annotation_id in desk.people.annotation_ids():
        desk.people.delete_annotation(annotation_id)
    adopt(desk.loop, "day", None, take_over=False)
    assert str(desk.look()) == "0/3: 3 open"


def test_numbers_that_a_tool_gives_out_twice_are_two_answers(desk: Desk) -> None:
    first = desk.people.answer(desk.items[0], truth(1))
    desk.look()
    state = desk.people._read()
    row = state["annotations"][str(first)]
    other = {**row, "task_id": desk.people.task_id(desk.items[1]), "created": 77, "updated": 77}
    state["annotations"][str(first)] = other  # set back, then the number went to another task
    desk.people._write(state)
    desk.look()
    assert desk.verdicts(desk.items[1]) == ["accepted"]
    assert same(desk.kept(desk.items[0]), 1)


def test_an_answer_that_comes_back_counts_again(desk: Desk) -> None:
    answer = desk.people.answer(desk.items[0], truth(1))
    row = desk.people._read()["annotations"][str(answer)]
    desk.people.answer(desk.items[1], truth(2))
    desk.look()
    desk.people.delete_annotation(answer)
    desk.look()
    state = desk.people._read()
    state["annotations"][str(answer)] = row
    desk.people._write(state)
    desk.look()
    desk.look()
    assert desk.verdicts(desk.items[0]) == ["accepted", "withdrawn", "accepted"]
    assert same(desk.kept(desk.items[0]), 1)


def test_a_collect_killed_between_file_and_ledger_is_made_good(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.steps import collect as module

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    answer = desk.people.answer(desk.items[0], truth(1))
    with monkeypatch.context() as patched:
        patched.setattr(module, "record_annotation", die)
        with pytest.raises(KeyboardInterrupt):
            desk.look()
    desk.people.edit(answer, truth(2))  # meanwhile
    desk.look()
    assert desk.verdicts(desk.items[0]) == ["accepted", "accepted"]
    assert same(desk.kept(desk.items[0]), 2)


def test_a_clock_that_jumps_for_one_tick_closes_no_round(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(progress_module.datetime):  # type: ignore[misc, name-defined]
        ahead = timedelta()

        @classmethod
        def now(cls, tz: object = None) -> object:  # type: ignore[override]
            return super().now(tz) + cls.ahead  # type: ignore[arg-type]

    monkeypatch.setattr(progress_module, "datetime", Clock)
    Clock.ahead = timedelta(days=8)
    assert not desk.look().closed
    Clock.ahead = timedelta()
    assert not desk.look().closed
    Clock.ahead = timedelta(days=7, hours=1)
    assert not desk.look().closed  # late indeed, and seen so for the first time
    Clock.ahead = timedelta(days=7, hours=1, minutes=2)
    assert desk.look().closed


def test_answers_to_an_older_domain_are_collected_and_merged_with_the_next_merge(
    shifted: Path, open_toy: Open, tmp_path: Path
) -> None:
    from tests.support.fake_annotator import FakeAnnotator

    people = FakeAnnotator(shifted.parent / "tool.json", ("road", "car", "sky"))
    loop = open_toy(shifted)
    loop.annotator_factory = lambda *_: people
    day = [t["data"]["item_id"] for t in people.all_tasks() if "day/" in t["data"]["item_id"]]
    assert tick(loop) == "waiting 0/3: 3 open (dusk/r0)"
    people.answer(day[0], truth(50))  # it was skipped; an edit of a merged one follows
    merged = next(
        row["id"]
        for row in people._read()["annotations"].values()
        if row["task_id"] == people.task_id(day[1])
    )
    people.edit(merged, truth(51))
    tick(loop)
    assert sorted(unmerged(loop)) == sorted(item.removesuffix("/r0") for item in day[:2])
    assert status(loop).unmerged == 2
    close_round(loop)
    assert "(dusk/r1)" in tick(loop) or "finished" in tick(loop)
    desk = Desk(loop=loop, people=people, items=day, said=[])
    assert same(desk.mask(day[0]), 50)
    assert same(desk.mask(day[1]), 51)
    with session_scope(loop.ledger, read_only=True) as session:
        assert len(facts(session)["ls_project"]) == 2
