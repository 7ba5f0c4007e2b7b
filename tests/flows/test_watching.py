"""A watched folder: planted streams, damaged files, and being killed anywhere."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from db.repository import events
from db.session import session_scope
from flows import prefect_server, watch_alarm
from flows.cli import main
from flows.loop import Loop
from flows.status import describe, status
from flows.steps.take_in import waiting
from flows.watch_log import WatchLog
from flows.watching import LOCK, Watcher
from pipeline import layout
from pipeline.data.formats.images import load_image
from pipeline.data.manifest import Sample, read_manifest, write_manifest
from pipeline.errors import DataError, ServiceError, WorkspaceError
from pipeline.files import alone, sha256_file
from pipeline.stages import embed as embed_stage

NUM_KNOWN = 40
DAY, DUSK = 0, 80  # how much redder


def draw(path: Path, number: int, redder: int = DAY) -> Path:
    """A sharp picture; every number another."""
    rng = np.random.default_rng(number)
    pixels_HWC = rng.integers(0, 120, (24, 32, 3), dtype=np.uint8)
    pixels_HWC[:, :16] += rng.integers(0, 30, 3, dtype=np.uint8)
    pixels_HWC[..., 0] += redder
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_HWC).save(path)
    return path


def colours(file: Path) -> np.ndarray:
    """Stands for the encoder: mean colours of the two halves."""
    image_HWC = load_image(file).astype(np.float32) / 255
    halves = [image_HWC[:, :16].mean((0, 1)), image_HWC[:, 16:].mean((0, 1))]
    return np.concatenate(halves)


@dataclass
class Place:
    """A workspace with a known domain, and a folder beside it."""

    loop: Loop
    folder: Path
    lines: list[str] = field(default_factory=list)

    def drop(self, numbers: range, redder: int = DAY) -> None:
        for number in numbers:
            draw(self.folder / f"new{number:04d}.png", number, redder)

    def watcher(self, ahead_s: float = 30.0, **options: Any) -> Watcher:
        """As if `ahead_s` had gone by since the files were dropped."""
        return Watcher(
            loop=self.loop,
            folder=self.folder,
            clock=lambda: time.time() + ahead_s,
            **options,
        )

    @property
    def log(self) -> WatchLog:
        return WatchLog.of(self.loop.root, self.folder)

    def scored(self) -> list[tuple[str, list[float]]]:
        return [(line["name"], line["p"]) for line in self.log.images]

    def noticed(self) -> list[str]:
        with session_scope(self.loop.ledger, read_only=True) as session:
            return [event.subject for event in events(session, watch_alarm.NOTICED)]


@pytest.fixture
def place(
    toy: Path,
    open_toy: Callable[[Path], Loop],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    monkeypatch.setattr(embed_stage, "file_embedder", lambda params: colours)
    samples = []
    for number in range(NUM_KNOWN):
        image = draw(toy / f"data/day/images/x{number:02d}k.png", 10_000 + number)
        path = image.relative_to(toy).as_posix()
        samples.append(
            Sample(
                sample_id=f"day/{image.stem}", domain="day", split="pool", image=path,
                image_sha256=sha256_file(image), mask="", mask_sha256="", origin="",
            )
        )  # fmt: skip
    write_manifest(toy / layout.MANIFEST, samples)
    write_embeddings(toy, "day")
    loop = open_toy(toy)
    loop.workspace.write_params(
        {"domain": "day", "domains": {"day": {}}, "watch": {"false_alarm_every": 1000, "window": 1}}
    )
    found = Place(loop, tmp_path / "drop")
    found.folder.mkdir()
    loop.log = found.lines.append
    return found


def write_embeddings(root: Path, domain: str, scale_widths: Sequence[int] = (6,)) -> None:
    samples = [s for s in read_manifest(root / layout.MANIFEST) if s.domain == domain]
    path = root / layout.EMBEDDINGS / f"{domain}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        sample_ids=np.array([s.sample_id for s in samples]),
        embeddings_ND=np.stack([colours(root / s.image) for s in samples]),
        **({"scale_widths": np.array(scale_widths)} if scale_widths else {}),
    )


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


def test_killed_between_scoring_and_event_the_event_comes_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.drop(range(10))
    place.drop(range(10, 25), DUSK)
    posted: list[str] = []

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.watching.tell", killed)
    with pytest.raises(KeyboardInterrupt):
        place.watcher().look()
    assert len(place.log.shifts) == 1
    assert place.noticed() == []
    monkeypatch.undo()
    monkeypatch.setattr(embed_stage, "file_embedder", lambda params: colours)
    prefect_server.write_settings(place.loop.root, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ServiceError, match="Prefect server at http"):
        place.watcher().look()
    monkeypatch.setattr(
        prefect_server, "emit", lambda url, **said: posted.append(said["payload"]["since"])
    )
    for _ in range(3):
        place.watcher().look()
    assert posted == ["new0010.png"]
    assert len(place.noticed()) == 1


def test_what_is_no_whole_image_is_waited_for_then_named_once(place: Place) -> None:
    whole = draw(place.folder / "half.png", 1).read_bytes()
    (place.folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (place.folder / "notes.txt").write_text("no picture")
    (place.folder / "sub").mkdir()
    (place.folder / ".hidden.png").write_bytes(whole)
    first = place.watcher(ahead_s=10).look()
    assert sorted(first.waiting) == ["half.png", "notes.txt"]
    assert list(first.left_out) == ["sub"]
    late = place.watcher(ahead_s=100).look()
    assert sorted(late.left_out) == ["half.png", "notes.txt"]
    assert late.left_out["notes.txt"].startswith("cannot be read: not an image")
    assert not place.watcher(ahead_s=100).look().news
    (place.folder / "half.png").write_bytes(whole)  # the rest came after all
    assert place.watcher().look().scored == 1


def test_a_file_that_still_grows_is_not_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.watching.SETTLED_S", 0)
    place.drop(range(1))
    os.utime(place.folder / "new0000.png", (0, 0))  # copied with its old date
    looked = place.watcher(ahead_s=0).look()
    assert (looked.scored, looked.waiting) == (0, ("new0000.png",))
    assert place.watcher(ahead_s=3).look().scored == 1


def test_junk_and_duplicates_are_no_suspicion(place: Place) -> None:
    place.drop(range(3), DUSK)
    (place.folder / "copy.png").write_bytes((place.folder / "new0001.png").read_bytes())
    for number in range(30):
        flat = np.full((24, 32, 3), number, np.uint8)
        Image.fromarray(flat).save(place.folder / f"blank{number}.png")
    looked = place.watcher().look()
    assert looked.scored == 3
    assert looked.since is None
    assert looked.left_out["blank7.png"].startswith("blank: ")
    assert "duplicate: the same bytes as" in looked.left_out["copy.png"] + looked.left_out.get(
        "new0001.png", ""
    )


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
    real = watch_alarm.record_event
    compared: list[str] = []
    monkeypatch.setattr(
        watch_alarm, "on_arrival", lambda root, name, say: compared.append(f"{root.name}/{name}")
    )

    def killed(session: Any, *, kind: str, **said: Any) -> bool:
        if kind == watch_alarm.OPENED:
            raise KeyboardInterrupt
        return real(session, kind=kind, **said)

    monkeypatch.setattr(watch_alarm, "record_event", killed)
    with pytest.raises(KeyboardInterrupt):  # the domain waits, and nobody noted it
        place.watcher(open_domain=True).look()
    monkeypatch.setattr(watch_alarm, "record_event", real)
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
    root = place.loop.root
    samples = read_manifest(root / layout.MANIFEST)
    for number in range(NUM_KNOWN):
        image = draw(root / f"data/dusk/images/y{number:02d}k.png", 20_000 + number, DUSK)
        samples.append(
            Sample(
                sample_id=f"dusk/{image.stem}", domain="dusk", split="pool",
                image=image.relative_to(root).as_posix(), image_sha256=sha256_file(image),
                mask="", mask_sha256="", origin="",
            )
        )  # fmt: skip
    write_manifest(root / layout.MANIFEST, samples)
    write_embeddings(root, "dusk")
    place.loop.workspace.write_params({"domains": {"day": {}, "dusk": {}}})
    place.drop(range(40, 60), DUSK)
    looked = place.watcher().look()
    assert (looked.scored, looked.since, looked.shifts) == (20, None, ())
    assert looked.suspicion < 100


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


def test_embeddings_from_before_scales_were_told_apart_are_one_scale(place: Place) -> None:
    write_embeddings(place.loop.root, "day", [])
    place.drop(range(10))
    place.drop(range(10, 30), DUSK)
    (shift,) = place.watcher().look().shifts
    assert shift.since == "new0010.png"
    assert {len(p_S) for _, p_S in place.scored()} == {1}


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
    monkeypatch.setattr(f"flows.watch_reference.{said}", "another")
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
    monkeypatch.setattr("flows.watching.TURN_S", 0)
    with (
        alone(place.loop.root / LOCK, "busy"),
        pytest.raises(WorkspaceError, match="another watch has been at work"),
    ):
        second.look()


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
