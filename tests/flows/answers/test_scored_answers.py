"""Answers are compared with what the teacher of the asking round had said, whenever they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.loop import Loop
from flows.rounds.close import close_round
from flows.tick import tick
from pipeline import layout
from pipeline.records.answers import Answer, compare, parse_answers
from tests.flows.conftest import CLASSES, SIZE, stage_domain, truth
from tests.flows.toy_stages import bands
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


def answers_at(loop: Loop, tag: str) -> dict[str, Answer]:
    text = loop.workspace.show(tag, layout.ANSWERS).decode()
    return {row.item_id: row for row in parse_answers(text)}


def against(seed: int, said: int) -> object:
    return compare(truth(seed), bands(*SIZE, len(CLASSES), said))


def test_every_answer_is_compared_with_the_pre_annotation(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, pool=8, val=1)
    loop = open_toy(toy)
    tick(loop)
    asked = people.open_items()
    for seed, item_id in enumerate(asked):
        people.answer(item_id, truth(seed))
    tick(loop)
    found = answers_at(loop, "day/r0-labels")
    assert list(found) == asked
    assert [found[item].counts for item in asked] == [against(seed, 2) for seed in range(3)]
    assert [found[item].chance for item in asked] == [None, None, 1 / 8]
    assert [found[item].source for item in asked] == ["strategy", "strategy", "audit"]
    assert answers_at(loop, "day/r1") == found


def test_late_answers_and_edits_are_judged_by_the_teacher_that_asked(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, pool=9, val=1)
    loop = open_toy(toy)
    loop.workspace.write_params({"loop": {"budget": 9}})
    tick(loop)
    first, refused, drawn = people.open_items()
    edited = people.answer(first, truth(0))
    people.skip(refused)
    close_round(loop)
    tick(loop)
    before = answers_at(loop, "day/r0-labels")
    assert before[drawn].mask_sha256 == ""
    assert set(before) == {first, drawn}  # a strategy's pick without an answer is no loss
    people.answer(drawn, truth(5))
    people.edit(edited, truth(6))
    later = [item_id for item_id in people.open_items() if item_id.endswith("/r1")]
    for item_id in later:
        people.answer(item_id, truth(7))
    tick(loop)
    after = answers_at(loop, "day/r1-labels")
    again = drawn.replace("/r0", "/r1")  # what nobody had answered was asked for once more
    assert again in later
    assert after[again].counts == against(7, 0)
    assert after[drawn].counts == against(7, 2)  # the image's newest mask, by the first teacher
    assert after[drawn].chance == pytest.approx(1 / 9)
    assert after[first].counts == against(6, 2)
    assert after[later[0]].counts == against(7, 0)  # by round 1's, which knew 3
