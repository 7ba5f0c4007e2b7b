"""Clicks follow their answer into the ledger, and outlive it in the answers' folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from db.repository import events
from db.session import open_ledger, session_scope
from flows.annotators.assist.click_log import Clicked, keep_click
from flows.answers.collected_clicks import CLICKED
from flows.loop import Loop
from flows.tick import tick
from flows.versions.rebuild_ledger import rebuild
from pipeline import layout
from tests.flows.conftest import truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


def clicked(root: Path, item_id: str, minute: int, **changes: Any) -> Clicked:
    """A line of the log."""
    found = Clicked(
        **{
            "at": f"2026-11-30T10:{minute:02d}:00.000000+00:00",
            "item_id": item_id,
            "task_id": 7,
            "class_name": "car",
            "engine": "teacher",
            "seconds": 0.25,
            "on": [(3.5, 4.0)],
            "beside": [],
            "boxes": [],
            "pixels": 12,
            **changes,
        }
    )
    keep_click(root, found)
    return found


def recorded(loop: Loop) -> dict[str, list[dict[str, Any]]]:
    """`item -> what each event about its clicks says`, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    with session_scope(loop.ledger, read_only=True) as session:
        for event in events(session, kind=CLICKED):
            found.setdefault(event.subject, []).append(event.detail)
    return found


def lines(*clicks: Clicked) -> list[dict[str, Any]]:
    """As events hold them, read back from JSON."""
    kept = []
    for one in clicks:
        line = asdict(one)
        del line["item_id"]
        kept.append({**line, "on": [list(place) for place in one.on]})
    return kept


def test_clicks_come_with_the_answer_and_once(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    first, second, _ = people.open_items()
    before = [clicked(asked, first, minute) for minute in (1, 2)]
    clicked(asked, second, 3)  # without an answer yet
    clicked(asked, "day/nothing/r0", 4)
    clicked(asked, "dusk/another/r0", 5)
    tick(loop)
    assert recorded(loop) == {}
    people.answer(first, truth(0))
    tick(loop)
    tick(loop)
    assert list(recorded(loop)) == [first]
    (said,) = recorded(loop)[first]
    assert said["clicks"] == lines(*before)
    assert (said["seconds"], said["until"]) == (0.5, before[-1].at)
    later = clicked(asked, first, 6)  # the answer was opened again
    tick(loop)
    assert [one["clicks"] for one in recorded(loop)[first]] == [lines(*before), lines(later)]


def test_clicks_are_in_the_ledger_that_is_made_again(
    asked: Path, open_toy: Open, people: FakeAnnotator, tmp_path: Path
) -> None:
    loop = open_toy(asked)
    items = people.open_items()
    clicked(asked, items[0], 1)
    for seed, item_id in enumerate(items):
        people.answer(item_id, truth(seed))
    tick(loop)
    before = recorded(loop)
    assert list(before) == [items[0]]
    (asked / layout.CLICKED).unlink()  # of this machine alone
    fresh = open_ledger(tmp_path / "again.db")
    again = Loop(workspace=loop.workspace, ledger=fresh, log=lambda line: None)
    rebuild(again)
    assert recorded(again) == before
    fresh.close()


def test_clicks_that_cannot_be_read_cost_no_answer(
    asked: Path, open_toy: Open, people: FakeAnnotator
) -> None:
    loop = open_toy(asked)
    (asked / layout.CLICKED).mkdir()
    item = people.open_items()[0]
    people.answer(item, truth(0))
    assert tick(loop).startswith("waiting 1/3")
    (asked / layout.CLICKED).rmdir()
    (asked / layout.CLICKED).write_bytes(b"\xff\xfe{}\n" * 9)
    tick(loop)
    assert recorded(loop) == {}
