from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from flows.loop import Loop
from flows.versions.history import history, in_words

Open = Callable[[Path], Loop]


def test_the_line_of_shifts_and_rounds(shifted: Path, open_toy: Open) -> None:
    loop = open_toy(shifted)
    day, dusk = history(loop)
    assert (day.domain, day.images, day.final) == ("day", 9, "day/final")
    assert (dusk.domain, dusk.images, dusk.final) == ("dusk", 5, None)
    first, second = day.rounds
    assert (first.tag, first.labelled, first.accepted, first.skipped) == ("day/r0", 2, 2, 1)
    assert first.minutes == 1.5
    assert (first.merged, second.merged) == (True, False)
    assert second.commit == loop.workspace.revision("day/final")
    assert second.miou_teacher == {"day": 4 / 14}
    assert dusk.rounds[0].miou_teacher == {"day": 4 / 14, "dusk": 4 / 14}


def test_it_is_read_in_a_terminal_and_by_scripts(shifted: Path, open_toy: Open) -> None:
    shifts = history(open_toy(shifted))
    lines = in_words(shifts).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("day: 9 images on 20")
    assert lines[0].endswith("campaign ended (day/final)")
    assert lines[2].split() == ["day/r0", "2", "3", "1.5", "0.167", "-"]
    assert lines[-2].split() == ["dusk/r0", "4", "-", "-", "0.286", "0.286"]
    plain = json.loads(json.dumps(shifts, default=asdict))
    assert [row["tag"] for row in plain[0]["rounds"]] == ["day/r0", "day/r1"]


def test_without_a_domain_it_says_how_to_begin(toy: Path, open_toy: Open) -> None:
    assert "domain add" in in_words(history(open_toy(toy)))
