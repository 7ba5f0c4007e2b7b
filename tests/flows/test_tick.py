from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import repository
from db.session import session_scope
from flows.loop import Loop
from flows.rounds.close import close_round
from flows.tick import tick
from flows.views.status import status
from flows.workspace.workspace import WorkspaceBusyError
from pipeline import layout
from pipeline.errors import WorkspaceError
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


def answer_all(people: FakeAnnotator) -> None:
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))


def tags(loop: Loop) -> list[str]:
    return sorted(loop.workspace.tags_merged())


def test_without_a_domain_there_is_nothing_to_do(toy: Path, open_toy: Open) -> None:
    assert "domain add" in tick(open_toy(toy))


def test_two_domains_go_through_their_rounds_and_shift(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, pool=8, val=2)
    loop = open_toy(toy)
    assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    stage_domain(toy, "dusk", pool=8, val=2)
    said = []
    for _ in range(4):
        answer_all(people)
        said.append(tick(loop))
    assert said[0] == "waiting 0/3: 3 open (day/r1)"
    assert said[1] == "waiting 0/3: 3 open (dusk/r0)"  # budget spent, so the next domain came
    assert said[2] == "waiting 0/3: 3 open (dusk/r1)"
    assert said[3].startswith("finished dusk")
    expected = ["ingest", "r0", "r0-labels", "r1", "r1-labels", "r2", "final"]
    assert tags(loop) == sorted(f"{d}/{t}" for d in ("day", "dusk") for t in expected)
    for domain in ("day", "dusk"):
        assert loop.workspace.revision(f"{domain}/final") == loop.workspace.revision(f"{domain}/r2")
    assert tick(loop) == said[3]
    now = status(loop)
    assert now.finished
    assert (now.merged, now.labelled) == (12, 14)
    people.edit(max(people.annotation_ids()), truth(99))
    assert tick(loop) == f"{said[3]}; 1 answer(s) came late and wait for the next merge"


def test_masks_in_the_data_are_what_people_painted(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2)
    loop = open_toy(toy)
    tick(loop)
    item_ids = people.open_items()
    for seed, item_id in enumerate(item_ids):
        people.answer(item_id, truth(seed))
    tick(loop)
    for seed, item_id in enumerate(item_ids):
        mask = toy / layout.sample_png(layout.DATA / "day/masks", Path(item_id).parent.name)
        np.testing.assert_array_equal(np.asarray(Image.open(mask)), truth(seed))


def test_skipped_deleted_and_spoilt_answers_do_not_hang_a_round(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2)
    loop = open_toy(toy)
    tick(loop)
    skipped, deleted, spoilt = people.open_items()
    people.skip(skipped)
    people.delete_task(deleted)
    unreadable = people.spoil(spoilt)
    said = tick(loop)
    assert said.startswith("waiting 1/3: 1 open, 1 missing from Label Studio")
    assert "labelstudio restore" in said
    assert people.open_items() == []
    assert unreadable in people.annotation_ids()  # nothing of a person's is deleted
    task = people.all_tasks()[people.task_id(spoilt) - 1]["data"]
    assert task["returned"] == "yes"
    assert task["reason"].startswith("SENT BACK, since region 1 of 1: ")
    assert tick(loop) == said
    people.spoil_again(unreadable)
    assert tick(loop).startswith("waiting 2/3: 0 open, 1 missing")
    close_round(loop)
    assert "day/r1" in tick(loop)
    refused = {s.sample_id: s.skips for s in loop.workspace.manifest() if s.skips}
    assert refused == {skipped.removesuffix("/r0"): 1, spoilt.removesuffix("/r0"): 1}
    assert not set(refused) & {t["data"]["sample_id"] for t in people.all_tasks()[3:]}


def test_an_edit_after_the_merge_arrives_with_the_next_one(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2, pool=8)
    loop = open_toy(toy)
    tick(loop)
    first, *others = people.open_items()
    annotation_id = people.answer(first, truth(1))
    for item_id in others:
        people.answer(item_id, truth(2))
    tick(loop)
    people.edit(annotation_id, truth(99))
    answer_all(people)
    tick(loop)
    mask = toy / layout.sample_png(layout.DATA / "day/masks", Path(first).parent.name)
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), truth(99))
    with session_scope(loop.ledger, read_only=True) as session:
        versions = [a for a in repository.annotation_versions(session) if a.item_id == first]
    assert [a.supersedes is None for a in versions] == [True, False]


def test_random_picks_become_val_where_none_was_given(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=0, pool=10)
    loop = open_toy(toy)
    assert tick(loop).startswith("waiting")  # no mask at all: a cold start
    answer_all(people)
    tick(loop)
    split = {s.sample_id: s.split for s in loop.workspace.manifest() if s.mask}
    assert sorted(split.values()) == ["pool", "pool", "val"]
    answer_all(people)
    tick(loop)
    split = {s.sample_id: s.split for s in loop.workspace.manifest() if s.mask}
    assert sorted(split.values()) == ["pool"] * 5 + ["val"]  # half of two random picks


def test_the_lock_keeps_a_second_tick_out(toy: Path, open_toy: Open) -> None:
    first, second = open_toy(toy), open_toy(toy)
    with first.workspace.lock(), pytest.raises(WorkspaceBusyError, match="in use by process"):
        tick(second)


def test_a_detached_head_is_refused_with_the_remedy(toy: Path, open_toy: Open) -> None:
    stage_domain(toy, "day", labelled=1)
    loop = open_toy(toy)
    tick(loop)
    loop.workspace.git.run("checkout", "--quiet", "day/ingest")
    with pytest.raises(WorkspaceError, match="main"):
        tick(loop)


def test_closing_a_round_merges_what_is_there_and_lets_the_next_domain_in(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    stage_domain(toy, "day", labelled=2)
    loop = open_toy(toy)
    tick(loop)
    people.answer(people.open_items()[0], truth(0))
    stage_domain(toy, "dusk")
    assert "closed" in close_round(loop)
    assert tick(loop).endswith("(dusk/r0)")
    # The last round computed, though answers were merged after it.
    assert loop.workspace.revision("day/final") == loop.workspace.revision("day/r0")
    assert "dusk/final" not in tags(loop)
    assert sum(s.origin == "annotated" for s in loop.workspace.manifest()) == 1


def test_a_rebuilt_ledger_holds_equal_facts(
    toy: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    from flows.versions.rebuild_ledger import rebuild

    stage_domain(toy, "day", labelled=2, pool=9)
    loop = open_toy(toy)
    tick(loop)
    skipped, spoilt, edited = people.open_items()
    people.skip(skipped)
    unreadable = people.spoil(spoilt)
    annotation_id = people.answer(edited, truth(5))
    tick(loop)
    people.edit(unreadable, truth(6))
    tick(loop)
    people.edit(annotation_id, truth(7))
    tick(loop)
    people.edit(annotation_id, truth(5))  # and back again
    tick(loop)
    people.update(annotation_id)  # without a change
    first, *_ = people.open_items()
    people.delete_annotation(people.answer(first, truth(3)))
    taken_back = people.answer(first, truth(8))
    tick(loop)
    people.delete_annotation(taken_back)
    tick(loop)
    answer_all(people)
    tick(loop)
    answer_all(people)
    tick(loop)
    with session_scope(loop.ledger, read_only=True) as session:
        before = repository.facts(session)
    loop.ledger.close()
    for file in toy.glob(".ssl-loop/ledger.db*"):
        file.unlink()
    for file in (toy / layout.INBOX).iterdir():  # git and DVC alone must do
        file.unlink()
    again = open_toy(toy)
    rebuild(again)
    said = tick(again)
    with session_scope(again.ledger, read_only=True) as session:
        after = repository.facts(session)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert said == tick(again)
