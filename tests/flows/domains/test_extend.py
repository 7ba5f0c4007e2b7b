"""Images join a domain between two rounds: each once, with the old ones, whatever happens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.repository import events, sample_hashes
from db.session import open_ledger, session_scope
from flows.domains.extend import extend_domain
from flows.domains.incoming import MoreImages
from flows.loop import Loop
from flows.steps import take_more
from flows.tick import tick
from flows.verify import verify
from flows.versions.history import history
from flows.versions.rebuild_ledger import rebuild
from flows.views.status import describe, status
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import DataError, WorkspaceError
from tests.flows.conftest import SIZE, truth
from tests.support.fake_annotator import FakeAnnotator

Open = Callable[[Path], Loop]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four new photographs, and one that the domain has."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(7)
    for number in range(4):
        pixels = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"week2_{number}.png")
    return folder


@pytest.fixture
def loop(asked: Path, open_toy: Open) -> Loop:
    """day/r0 asks for three images of its pool of eight."""
    return open_toy(asked)


def extend(loop: Loop, photos: Path, **more: Path) -> str:
    return str(extend_domain(loop.root, "day", images=photos, keep_all=True, **more))


def answer_all(people: FakeAnnotator) -> None:
    for seed, item_id in enumerate(people.open_items()):
        people.answer(item_id, truth(seed))


def stems(loop: Loop) -> list[str]:
    return [sample.sample_id.partition("/")[2] for sample in loop.workspace.manifest()]


NEW = [f"week2_{number}" for number in range(4)]


def test_more_images_join_before_the_next_round(
    loop: Loop, people: FakeAnnotator, photos: Path
) -> None:
    before = stems(loop)
    known = loop.root / layout.images_dir("day") / "img004.png"
    shutil.copyfile(known, photos / "img004.png")
    said = extend(loop, photos)
    assert "4 images (4 pool)" in said
    assert "1 image(s) are in domain day already" in said
    assert "4 more image(s) of day join it" in describe(status(loop), [])
    assert tick(loop) == "waiting 0/3: 3 open (day/r0)"
    assert stems(loop) == before
    answer_all(people)
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"
    assert sorted(stems(loop)) == sorted([*before, *NEW])
    assert "day/ingest-2" in loop.workspace.tags_merged()
    assert not (loop.root / layout.MORE / "day/2").exists()
    with session_scope(loop.ledger, read_only=True) as session:
        assert {f"day/{stem}" for stem in NEW} <= set(sample_hashes(session, "day"))
    assert history(loop)[0].images == len(before) + 4
    assert not verify(loop).findings


def test_campaign_that_ended_for_want_of_images_goes_on(
    loop: Loop, people: FakeAnnotator, photos: Path
) -> None:
    loop.workspace.write_params({"loop": {"budget": None}, "acquire": {"query_size": 5}})
    answer_all(people)
    tick(loop)
    answer_all(people)
    assert "nothing left to ask" in tick(loop)
    extend(loop, photos)
    assert tick(loop) == "waiting 0/4: 4 open (day/r3)"
    assert {item_id.split("/")[1] for item_id in people.open_items()} == set(NEW)


def test_killed_after_its_tag_it_is_not_taken_in_twice(
    loop: Loop, people: FakeAnnotator, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend(loop, photos)
    answer_all(people)
    with monkeypatch.context() as patched:
        patched.setattr(take_more, "record_ingest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tick(loop)
    assert (loop.root / layout.MORE / "day/2").exists()
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"
    assert len(stems(loop)) == len(set(stems(loop)))
    assert "day/ingest-3" not in loop.workspace.tags_merged()
    assert not verify(loop).findings


def test_killed_before_its_commit_it_is_not_added_twice(
    loop: Loop, people: FakeAnnotator, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend(loop, photos)
    answer_all(people)
    real = Workspace.tag

    def killed(workspace: Workspace, name: str, *args: Any, **more: Any) -> None:
        if name == "day/ingest-2":
            raise RuntimeError("killed")
        real(workspace, name, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "tag", killed)
        with pytest.raises(RuntimeError, match="killed"):
            tick(loop)
    assert tick(loop) == "waiting 0/3: 3 open (day/r1)"
    assert len(stems(loop)) == len(set(stems(loop))) == 15


def test_two_folders_join_one_after_the_other_and_a_rebuilt_ledger_knows_both(
    loop: Loop, people: FakeAnnotator, photos: Path, tmp_path: Path
) -> None:
    extend(loop, photos)
    second = tmp_path / "second"
    second.mkdir()
    (photos / "week2_3.png").rename(second / "week2_3.png")
    pixels = np.random.default_rng(8).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(second / "week3.png")
    assert "1 image(s) are in domain day already" in extend(loop, second)
    answer_all(people)
    tick(loop)
    assert {"day/ingest-2", "day/ingest-3"} <= set(loop.workspace.tags_merged())
    loop.ledger.close()
    (loop.root / layout.LEDGER).unlink()
    loop.ledger = open_ledger(loop.root / layout.LEDGER)
    rebuild(loop)
    with session_scope(loop.ledger, read_only=True) as session:
        assert {"day/week2_3", "day/week3"} <= set(sample_hashes(session, "day"))
        assert len(events(session, kind="extended")) == 2


def refused(loop: Loop, photos: Path, message: str, **more: Path) -> None:
    with pytest.raises(DataError, match=message):
        extend(loop, photos, **more)
    assert not list((loop.root / layout.MORE).glob("*/[0-9]*"))


def test_contradictions_are_refused_and_leave_nothing(loop: Loop, photos: Path) -> None:
    shutil.copyfile(photos / "week2_0.png", photos / "img004.png")
    refused(loop, photos, "img004.png: domain day has another image of this name; rename it")
    known = loop.root / layout.images_dir("day") / "img004.png"
    shutil.copyfile(known, photos / "img004.png")
    masks = photos.with_name("masks")
    masks.mkdir()
    Image.fromarray(truth(1)).save(masks / "img004.png")
    refused(loop, photos, "day/img004 is in the domain already; masks of its", masks=masks)
    for stem in NEW:
        (photos / f"{stem}.png").unlink()
    refused(loop, photos, "all 1 images are in domain day already")
    with pytest.raises(WorkspaceError, match=r"domain 'dusk' is not taken in; there are: day"):
        extend_domain(loop.root, "dusk", images=photos)


def test_files_that_are_not_here_are_named(loop: Loop, photos: Path) -> None:
    extend(loop, photos)
    (loop.root / layout.images_dir("day") / "img009.png").unlink()
    with pytest.raises(WorkspaceError, match=r"img009.png and 0 other .*`dvc checkout` brings"):
        take_more.take_more(loop, MoreImages("day", 2))
    assert "day/ingest-2" not in loop.workspace.tags_merged()
