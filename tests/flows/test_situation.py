"""Which state a campaign is in, and what a tick that has nothing to do reads to find out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.loop import Loop
from flows.situation import CampaignState, Situation, campaign_state
from flows.steps.finish import ended
from flows.tick import NEXT, tick
from flows.workspace.git import commands
from flows.workspace.position import position
from pipeline import layout
from pipeline.reading import Document
from pipeline.records.query import QueryImage, QueryRow
from tests.flows.conftest import CLASSES, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]
ROUND = ("day/ingest", "day/r0")
NEXT_ROUND = (*ROUND, "day/r0-labels")
ROW = QueryRow(sample_id="day/a", rank=1, score=1.0, source="strategy", reason="")
ASKED = QueryImage(rank=1, rows=(ROW,))


def at_commit(tag: str) -> str:
    """Merged without a change, a round's labels lie at its own commit."""
    return {"day/final": "day/r0"}.get(tag, tag)


def situation(*tags: str, domain: str | None = "day", **known: Any) -> Situation:
    """A campaign of the domain with these tags, that asks nothing, and for which nobody waits."""
    given: dict[str, Any] = {
        "here": position(domain, tags),
        "domains": ("day", "dusk"),
        "tags": {tag: at_commit(tag) for tag in tags},
        "query": (),
        "advice": None,
        "closed": False,
        "reopened": False,
        "waiting": (),
    }
    return Situation(**(given | known))


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (situation(domain=None), CampaignState.EMPTY),
        (situation(domain=None, waiting=("day",)), CampaignState.ARRIVING),
        (situation("day/ingest", waiting=("day",)), CampaignState.ARRIVING),  # killed after the tag
        (situation("day/ingest"), CampaignState.COMPUTING),
        (situation("day/ingest", waiting=("dusk",)), CampaignState.COMPUTING),
        (situation(*ROUND, query=(ASKED,)), CampaignState.ASKING),
        (situation(*ROUND, query=(ASKED,), waiting=("dusk",)), CampaignState.ASKING),
        (situation(*NEXT_ROUND), CampaignState.COMPUTING),
        (situation(*NEXT_ROUND, waiting=("dusk",)), CampaignState.COMPUTING),
        (situation(*NEXT_ROUND, closed=True), CampaignState.CLOSED),
        (situation(*NEXT_ROUND, closed=True, waiting=("dusk",)), CampaignState.SUPERSEDED),
        (situation(*ROUND), CampaignState.ANSWERED),
        (situation(*ROUND, waiting=("dusk",)), CampaignState.SUPERSEDED),
        (situation(*ROUND, reopened=True), CampaignState.REOPENED),
        (situation(*ROUND, reopened=True, waiting=("dusk",)), CampaignState.REOPENED),
        (
            situation(*ROUND, "dusk/ingest", query=(ASKED,), waiting=("dusk",)),
            CampaignState.SUPERSEDED,
        ),
    ],
)
def test_every_situation_is_one_state(now: Situation, state: CampaignState) -> None:
    assert campaign_state(now) is state
    # The last computed round of a campaign that ended is named, before the next domain comes.
    over = state in (CampaignState.ANSWERED, CampaignState.SUPERSEDED)
    assert ended(now) == ({"day": "day/r0"} if over else {})


def test_an_end_after_the_campaign_was_opened_again_is_named_too() -> None:
    assert ended(situation(*ROUND, "day/final")) == {}
    assert ended(situation(*NEXT_ROUND, "day/r1", "day/final")) == {"day": "day/r1"}
    assert ended(situation(*ROUND, "day/final", reopened=True)) == {}


def test_every_state_has_its_steps() -> None:
    assert set(NEXT) == set(CampaignState)


def test_of_two_that_wait_the_one_that_was_begun_comes_first() -> None:
    now = situation(*ROUND, "dusk/ingest", waiting=("night", "dusk"))
    assert now.next_domain == "dusk"
    assert situation(waiting=("night", "dusk")).next_domain == "night"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each program was started and each table read, from now on."""
    found: Counter[str] = Counter()
    run, table = commands.run, Document.table

    def run_counted(argv: list[str], **given: Any) -> bytes:
        found[" ".join(argv)] += 1
        return run(argv, **given)

    def table_counted(self: Document, *columns: Any, **given: Any) -> Any:
        found[self.source] += 1
        return table(self, *columns, **given)

    monkeypatch.setattr(commands, "run", run_counted)
    monkeypatch.setattr(Document, "table", table_counted)
    return found


def repeated(counted: Counter[str]) -> dict[str, int]:
    """What was shown by git, or read as a table, more than once."""
    return {
        what: times
        for what, times in counted.items()
        if times > 1 and (what.startswith("git show ") or not what.startswith("git "))
    }


def test_an_idle_tick_reads_query_and_manifest_once(
    asked: Path, open_toy: Open, counted: Counter[str]
) -> None:
    assert tick(open_toy(asked)) == "waiting 0/3: 3 open (day/r0)"
    assert counted["git show day/r0:query.csv"] == 1
    assert counted["query.csv at day/r0"] == 1
    assert counted[str(asked / layout.MANIFEST)] == 1
    assert repeated(counted) == {}


def test_answers_to_two_domains_are_collected_with_one_look_at_the_manifest(
    shifted: Path, tmp_path: Path, open_toy: Open, counted: Counter[str]
) -> None:
    people = FakeAnnotator(tmp_path / "campaign/tool.json", CLASSES)
    for seed, item_id in enumerate(people.open_items()[:2]):
        people.answer(item_id, truth(seed))
    loop = open_toy(shifted)
    loop.annotator_factory = lambda *_: people
    counted.clear()
    assert tick(loop).startswith("waiting 2/3")
    assert counted[str(shifted / layout.MANIFEST)] == 1
