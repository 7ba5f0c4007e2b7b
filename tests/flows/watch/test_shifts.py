"""Shifts in a watched folder: told once, opened as a domain, killed anywhere."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.domains.incoming import waiting
from flows.services import prefect_server
from flows.views.status import describe, status
from flows.watch import alarm
from flows.watch.watcher import Watcher
from pipeline import layout
from pipeline.errors import DataError, ServiceError, WorkspaceError
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.stages import embed as embed_stage
from tests.flows.watch.conftest import (
    DUSK,
    Place,
    colours,
    draw,
    known_images,
    write_embeddings,
)


def add_dusk(root: Path) -> None:
    """Another known domain; without embeddings yet."""
    samples = read_manifest(root / layout.MANIFEST)
    write_manifest(root / layout.MANIFEST, samples + known_images(root, "dusk", 20_000, DUSK))


def test_a_shift_is_told_once_and_everywhere(place: Place) -> None:
    place.drop(range(30))
    quiet = place.watcher().look()
    assert (quiet.scored, quiet.shifts, quiet.since) == (30, (), None)
    place.drop(range(30, 50), DUSK)
    shifted = place.watcher().look()
    (shift,) = shifted.shifts
    assert shift.since == shifted.since == "new0030.png"
    assert int(shift.image[3:7]) < 45
    assert shift.nearest_domain == "day"
    assert place.noticed() == [shift.key]
    said = describe(status(place.loop), [])
    assert "incoming images: from no known domain since new0030.png, noticed 2" in said
    assert f"in {place.folder}; no domain opened for it" in said
    again = place.watcher().look()
    assert sum(line.startswith("ALARM: new images come from no known") for line in place.lines) == 1
    assert (again.scored, again.scored_in_all, again.shifts) == (0, 50, ())
    assert again.since == "new0030.png"
    assert len(place.noticed()) == 1


def test_killed_between_scoring_and_event_the_event_comes_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.drop(range(10))
    place.drop(range(10, 25), DUSK)
    posted: list[str] = []

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.watch.watcher.tell", killed)
    with pytest.raises(KeyboardInterrupt):
        place.watcher().look()
    assert len(place.log.shifts) == 1
    assert place.noticed() == []
    monkeypatch.undo()
    monkeypatch.setattr(embed_stage, "file_embedder", lambda params: colours)
    prefect_server.write_settings(place.loop.root, 9, "secret")  # nobody listens there
    with pytest.raises(ServiceError, match="Prefect server at http"):
        place.watcher().look()
    monkeypatch.setattr(
        prefect_server, "emit", lambda url, **said: posted.append(said["payload"]["since"])
    )
    for _ in range(3):
        place.watcher().look()
    assert posted == ["new0010.png"]
    assert len(place.noticed()) == 1


def test_a_shift_opens_a_domain_of_the_images_since(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.loop.workspace.write_params({"watch": {"domain_size": 20}})
    (place.loop.root / layout.INCOMING / "shift-1").mkdir(parents=True)
    place.drop(range(20))
    place.drop(range(20, 35), DUSK)
    draw(place.folder / "a name (1).png", 99, DUSK)
    assert place.watcher(open_domain=True).look().opened is None  # 16 images yet
    place.drop(range(35, 42), DUSK)
    real = alarm.record_event
    compared: list[str] = []
    monkeypatch.setattr(
        alarm, "on_arrival", lambda root, name, say: compared.append(f"{root.name}/{name}")
    )

    def killed(session: Any, *, kind: str, **said: Any) -> bool:
        if kind == alarm.OPENED:
            raise KeyboardInterrupt
        return real(session, kind=kind, **said)

    monkeypatch.setattr(alarm, "record_event", killed)
    with pytest.raises(KeyboardInterrupt):  # the domain waits, and nobody noted it
        place.watcher(open_domain=True).look()
    monkeypatch.setattr(alarm, "record_event", real)
    assert place.watcher(open_domain=True).look().opened == "shift-2"
    assert place.watcher(open_domain=True).look().opened is None
    assert waiting(place.loop.root) == ["shift-2"]
    assert compared == ["workspace/shift-2"] * 2  # killed, it is asked for again
    assert "; domain shift-2 opened" in describe(status(place.loop), [])
    staged = read_manifest(place.loop.root / layout.INCOMING / "shift-2/samples.csv")
    assert len(staged) == 23
    assert "shift-2/a_name__1_" in {sample.sample_id for sample in staged}


def test_once_the_new_domain_is_known_the_watch_begins_anew(place: Place) -> None:
    place.drop(range(10))
    place.drop(range(10, 40), DUSK)
    assert len(place.watcher().look().shifts) == 1
    add_dusk(place.loop.root)
    write_embeddings(place.loop.root, "dusk")
    place.loop.workspace.write_params({"domains": {"day": {}, "dusk": {}}})
    place.drop(range(40, 60), DUSK)
    looked = place.watcher().look()
    assert (looked.scored, looked.since, looked.shifts) == (20, None, ())
    assert looked.suspicion < 100


def test_embeddings_from_before_scales_were_told_apart_are_one_scale(place: Place) -> None:
    write_embeddings(place.loop.root, "day", [])
    place.drop(range(10))
    place.drop(range(10, 30), DUSK)
    (shift,) = place.watcher().look().shifts
    assert shift.since == "new0010.png"
    assert {len(p_S) for _, p_S in place.scored()} == {1}


def test_one_domain_from_before_makes_one_scale_of_all(place: Place) -> None:
    write_embeddings(place.loop.root, "day", [])
    add_dusk(place.loop.root)
    write_embeddings(place.loop.root, "dusk", [3, 3])
    place.loop.workspace.write_params({"domains": {"day": {}, "dusk": {}}})
    place.drop(range(5))
    place.drop(range(5, 10), DUSK)
    assert (place.watcher().look().scored, place.noticed()) == (10, [])
    assert {len(p_S) for _, p_S in place.scored()} == {1}


def test_without_anything_to_compare_with_it_says_what_to_do(place: Place) -> None:
    place.drop(range(1))
    with pytest.raises(DataError, match="no such folder"):
        Watcher(loop=place.loop, folder=place.folder / "nowhere").look()
    lock = place.loop.root / "dvc.lock"
    made = {"embed@day": {"params": {"params.yaml": {"embed": {"encoder": "another"}}}}}
    lock.write_text(json.dumps({"stages": made}))
    with pytest.raises(WorkspaceError, match=r"embed was changed since .* `ssl-loop run` makes"):
        place.watcher().look()
    lock.unlink()
    (place.loop.root / layout.EMBEDDINGS / "day.npz").unlink()
    with pytest.raises(WorkspaceError, match="nothing to compare new images with"):
        place.watcher().look()


def test_the_command_prints_one_object_per_look(place: Place) -> None:
    place.drop(range(3))
    time.sleep(2.1)
    arguments = ["watch", str(place.folder), "-w", str(place.loop.root), "--once", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["scored"], found["since"], found["threshold"]) == (3, None, 1000)
    result = CliRunner().invoke(main, ["watch", "-w", str(place.loop.root), "--once"])
    assert result.exit_code == 1
    assert "watch.folder is null" in result.output
