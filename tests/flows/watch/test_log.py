"""What a watch has written: the same however it came about, and read by the next one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flows.watch.watcher import LOCK
from pipeline.errors import WorkspaceError
from pipeline.files import alone
from pipeline.stages import embed as embed_stage
from tests.flows.watch.conftest import DUSK, Place, colours, write_embeddings


def test_one_at_a_time_or_together_by_one_watch_or_many_is_the_same(place: Place) -> None:
    place.drop(range(6))
    place.drop(range(6, 16), DUSK)
    place.watcher().look()
    together = place.scored(), [shift.since for shift in place.log.shifts]
    place.log.path.unlink()
    hidden = [
        path.rename(path.with_name(f".{path.name}")) for path in sorted(place.folder.iterdir())
    ]
    for path in hidden:
        path.rename(path.with_name(path.name[1:]))
        place.watcher().look()
    assert (place.scored(), [shift.since for shift in place.log.shifts]) == together
    assert len(together[1]) == 1


def test_killed_while_scoring_goes_on_without_scoring_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.drop(range(40))
    count = iter(range(1000))

    def until_killed(file: Path) -> np.ndarray:
        if next(count) == 25:
            raise KeyboardInterrupt
        return colours(file)

    monkeypatch.setattr(embed_stage, "file_embedder", lambda params: until_killed)
    with pytest.raises(KeyboardInterrupt):
        place.watcher().look()
    written = place.scored()
    assert 0 < len(written) < 40
    with place.log.path.open("a") as file:
        file.write('{"is": "image", "name": "cut sh')  # as by a machine that lost its power
    place.watcher().look()
    assert place.scored()[: len(written)] == written
    assert [name for name, _ in place.scored()] == [f"new{n:04d}.png" for n in range(40)]


def test_each_line_has_the_p_values_of_the_scales(place: Place) -> None:
    """The halves of the image stand for scales."""
    write_embeddings(place.loop.root, "day", [3, 3])
    place.drop(range(20))
    place.drop(range(20, 40), DUSK)
    assert len(place.watcher().look().shifts) == 1
    lines = [json.loads(line) for line in place.log.path.read_text().splitlines()]
    p_MS = np.array([line["p"] for line in lines if line["is"] == "image"])
    assert p_MS.shape == (40, 2)
    assert ((p_MS >= 0.02) & (p_MS <= 1)).all()


def test_a_log_with_one_number_per_image_is_read_and_its_suspicion_dropped(place: Place) -> None:
    place.drop(range(3))
    place.drop(range(3, 8), DUSK)
    suspicion = place.watcher().look().suspicion
    lines = [json.loads(line) for line in place.log.path.read_text().splitlines()]
    lines[0]["fingerprint"] = "of the test before"
    for line in lines[1:]:
        line["p"] = line["p"][0]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    place.log.path.write_text(text)
    old = place.log
    assert old.detector is not None
    assert old.detector.position == 8
    assert old.detector.suspicion > 10
    place.drop(range(8, 9))
    looked = place.watcher().look()
    assert (looked.scored, looked.scored_in_all, looked.shifts) == (1, 9, ())
    assert looked.suspicion < 10 < suspicion
    assert place.log.path.read_text().startswith(text)
    assert [len(p_S) for _, p_S in place.scored()] == [1]


@pytest.mark.parametrize("said", ["TEST", "FLOOR"])
def test_suspicion_of_another_test_is_dropped(
    place: Place, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    place.drop(range(5), DUSK)
    assert place.watcher().look().suspicion > 10
    monkeypatch.setattr(f"flows.watch.known_domains.{said}", "another")
    place.drop(range(5, 6))
    assert place.watcher().look().suspicion < 10


def test_two_watches_take_turns(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.drop(range(2))
    first, second = place.watcher(), place.watcher()
    assert first.look().scored == 2
    place.drop(range(2, 4))
    assert second.look().scored == 2
    place.drop(range(4, 6))
    again = first.look()  # what the other wrote meanwhile counts
    assert (again.scored, again.scored_in_all) == (2, 6)
    monkeypatch.setattr("flows.watch.watcher.TURN_S", 0)
    with (
        alone(place.loop.root / LOCK, "busy"),
        pytest.raises(WorkspaceError, match="another watch has been at work"),
    ):
        second.look()
