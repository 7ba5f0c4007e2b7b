"""Files in a watched folder: damaged, growing, junk."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.flows.watch.conftest import DUSK, Place, draw


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
    monkeypatch.setattr("flows.watch.watcher.SETTLED_S", 0)
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


def test_what_is_no_file_is_named_at_once_and_never_read(place: Place) -> None:
    os.mkfifo(place.folder / "fifo.png")
    (place.folder / "zero.png").symlink_to("/dev/zero")
    (place.folder / "fifo_link.png").symlink_to("fifo.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/cwd/{os.path.relpath(place.folder / 's.png')}")
    place.drop(range(1))
    looked = place.watcher().look()
    assert looked.scored == 1
    assert looked.left_out["fifo.png"].startswith("a FIFO, expected the files")
    assert looked.left_out["fifo_link.png"].startswith("a FIFO")
    assert looked.left_out["zero.png"].startswith("a device")
    assert looked.left_out["s.png"].startswith("a socket")


def test_an_image_over_the_limit_is_named_with_the_knob(place: Place) -> None:
    place.loop.workspace.write_params({"loop": {"max_megapixels": 1.0}})
    Image.new("RGB", (1100, 1000)).save(place.folder / "large.png")
    said = place.watcher(ahead_s=100).look().left_out["large.png"]
    assert said.startswith("cannot be read: 1100x1000 are 1.1 megapixels")
    assert "loop.max_megapixels" in said


def test_a_link_out_of_the_watched_folder_is_named_and_never_read(
    place: Place, tmp_path: Path
) -> None:
    target = draw(tmp_path / "elsewhere/private.png", 7)
    (place.folder / "out.png").symlink_to(target)
    (place.folder / "gone.png").symlink_to("nowhere.png")
    (place.folder / "round.png").symlink_to("round.png")
    place.drop(range(2))
    (place.folder / "new0001.png").rename(place.folder / ".kept.png")
    (place.folder / "inside.png").symlink_to(".kept.png")
    watcher = place.watcher(ahead_s=100)
    looked = watcher.look()
    assert looked.scored == 2
    assert looked.left_out["out.png"] == (
        f"a link out of the watched folder, to {target}: copy the image there"
    )
    assert looked.left_out["gone.png"].startswith("nothing (a link to nowhere.png)")
    assert looked.left_out["round.png"].startswith("a loop of links")
    draw(place.folder / "nowhere.png", 9)
    again = watcher.look()
    assert again.scored == 1  # and its copy behind the link: the same bytes
    assert set(again.left_out) <= {"gone.png", "nowhere.png"}
