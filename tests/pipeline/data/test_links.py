"""Links in a folder that people bring: what lies elsewhere is copied knowingly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.names import files_by_stem
from pipeline.errors import DataError
from tests.pipeline.data.folders import Folder, ingest, refused, staged


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def moved(path: Path, elsewhere: Path) -> Path:
    """The file lies elsewhere now, a link to it where it was."""
    target = elsewhere / path.name
    path.rename(target)
    path.symlink_to(target)
    return target


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_link_out_of_the_folder_is_refused_with_its_target_and_copied_when_accepted(
    folder: Folder, elsewhere: Path, kind: str
) -> None:
    image, mask = folder.image("a.png"), folder.mask("a.png")
    link = {"image": image, "mask": mask}[kind]
    target = moved(link, elsewhere)
    message = refused(folder)
    assert f"links out of the folder; what they lead to would be copied: {link} -> {target}" in (
        message
    )
    assert "--accept" in message
    summary = ingest(folder, accept=True)
    assert any("accepted: 1 file(s) are links out of the folder" in note for note in summary.notes)
    for path in (folder.destination / "day").rglob("*"):
        assert not path.is_symlink()
    stored = folder.destination / "day/images/a.png"
    assert stored.read_bytes() == image.read_bytes()
    assert "day/a" in staged(folder)


def test_nothing_behind_a_link_is_read_before_it_is_accepted(
    folder: Folder, elsewhere: Path
) -> None:
    folder.image("a.png")
    (elsewhere / "key.png").write_text("a secret of others")
    (folder.images / "key.png").symlink_to(elsewhere / "key.png")
    message = refused(folder)
    assert "links out of the folder" in message
    assert "no image" not in message
    assert "key.png" in refused(folder, accept=True)


@pytest.mark.parametrize("through", ["up", "folder", "chain"])
def test_roundabout_ways_out_are_ways_out(folder: Folder, elsewhere: Path, through: str) -> None:
    target = moved(folder.image("a.png"), elsewhere)
    link = folder.images / "a.png"
    link.unlink()
    if through == "up":
        link.symlink_to("../elsewhere/a.png")
    elif through == "folder":
        (folder.images / ".sub").symlink_to(elsewhere)
        link.symlink_to(".sub/a.png")
    else:
        (folder.images / ".first").symlink_to(target)
        link.symlink_to(".first")
    assert f"{link} -> {target}" in refused(folder)


def test_links_inside_and_a_folder_that_is_named_through_a_link_are_fine(
    folder: Folder, tmp_path: Path
) -> None:
    folder.image("a.png")
    (folder.images / "sub").mkdir()
    hidden = folder.images / ".kept"
    (folder.images / "sub").rename(hidden)
    folder.image("b.png").rename(hidden / "b.png")
    (folder.images / "b.png").symlink_to(".kept/b.png")
    named = tmp_path / "named"
    named.symlink_to(folder.images)
    summary = ingest(folder, images=named)
    assert (summary.num_images, summary.notes) == (2, ())
    assert not (folder.destination / "day/images/b.png").is_symlink()


def test_links_to_nothing_to_themselves_and_to_folders_are_named(
    folder: Folder, elsewhere: Path
) -> None:
    folder.image("a.png")
    (folder.images / "gone.png").symlink_to("nowhere.png")
    (folder.images / "round.png").symlink_to("trip.png")
    (folder.images / "trip.png").symlink_to("round.png")
    (folder.images / "more").symlink_to(elsewhere)
    for accept in (False, True):
        message = refused(folder, accept=accept)
        assert message.startswith("4 file(s)")
        assert "gone.png: nothing (a link to nowhere.png)" in message
        assert "round.png: a loop of links (a link to trip.png)" in message
        assert f"more: a folder (a link to {elsewhere})" in message


def test_a_folder_that_is_a_link_to_nothing_is_said(folder: Folder, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="no such folder"):
        files_by_stem(named)
