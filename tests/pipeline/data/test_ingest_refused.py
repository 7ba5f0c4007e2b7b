"""What is refused of a domain, and what a crash leaves behind."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError, WorkspaceError
from tests.pipeline.data.folders import Folder, ingest, refused


def test_every_offender_is_named_at_once(folder: Folder) -> None:
    for stem in ("good", "size", "value", "colour", "deep", "cut_mask"):
        folder.image(f"{stem}.png")
        folder.mask(f"{stem}.png")
    folder.mask("size.png", height=7)
    Image.fromarray(np.full((6, 8), 9, np.uint8)).save(folder.masks / "value.png")
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder.masks / "colour.png")
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(folder.masks / "deep.png")
    noise = np.random.default_rng(0).integers(0, 3, (6, 8), dtype=np.uint8)
    Image.fromarray(noise).save(folder.masks / "cut_mask.png")
    for path in (folder.image("cut.jpg", height=64, width=64), folder.masks / "cut_mask.png"):
        path.write_bytes(path.read_bytes()[:-30])
    (folder.images / "text.png").write_text("not an image")
    message = refused(folder)
    assert message.startswith("7 file(s) cannot be ingested, and nothing was:")
    for part in (
        "masks/size.png: 8x7, expected the 8x6",
        "masks/value.png: unknown class values 9",
        "masks/colour.png: 8-bit colour mask",
        "masks/deep.png: 16-bit greyscale mask",
        "masks/cut_mask.png: damaged or truncated",
        "images/cut.jpg: damaged or truncated",
        "images/text.png: not an image",
    ):
        assert part in message, part
    assert "good" not in message


def test_every_bad_name_is_refused_at_once(folder: Folder) -> None:
    for name in ("a.jpg", "a.png", "B.png", "b.png", "two words.png", "caf\u00e9.png", "x#1.png"):
        folder.image(name)
    (folder.images / "deeper").mkdir()
    folder.image("deeper/c.png")
    message = refused(folder)
    assert message.startswith("6 file(s)")
    assert "a.png: same name as a.jpg" in message
    assert "b.png: same name as B.png" in message
    for name in ("two words.png", "caf\u00e9.png", "x#1.png"):
        assert f"{name}: name may only have letters" in message
    assert "deeper: a folder" in message


def test_hidden_files_are_left_out(folder: Folder) -> None:
    folder.image("a.png")
    (folder.images / ".DS_Store").write_bytes(b"\0")
    assert ingest(folder).num_images == 1


def test_ids_without_image_or_mask_are_offenders(folder: Folder) -> None:
    for stem in "abcde":
        folder.image(f"{stem}.png")
    folder.mask("a.png")
    splits = {"a": "labelled", "b": "labelled", "c": "val", "d": "pool", "ghost": "pool"}
    message = refused(folder, splits=folder.splits(splits))
    assert message.startswith("4 file(s)")
    assert "ghost: no image of this name" in message
    assert "b.png: split labelled needs a mask b.png in" in message
    assert "c.png: split val needs a mask c.png in" in message
    assert "e.png: not in" in message
    assert "no folder of masks" in refused(folder, splits=folder.splits(splits), masks=None)


def test_masks_that_fit_no_image_are_offenders(folder: Folder) -> None:
    folder.image("a.png")
    folder.mask("a_mask.png")
    assert "a_mask.png: mask without an image" in refused(folder)


def test_unknown_splits_are_refused_with_what_is_allowed(folder: Folder) -> None:
    folder.image("a.png")
    message = refused(folder, splits=folder.splits({"a": "train"}))
    assert "line 2: a: split 'train'" in message
    assert "labelled, pool, val, test" in message


def test_empty_and_missing_folders_are_refused(folder: Folder) -> None:
    assert "no images there" in refused(folder)
    folder.image("a.png")
    assert "no masks there" in refused(folder, masks=folder.masks)
    assert "no such folder" in refused(folder, masks=folder.root / "none")
    assert "no such folder" in refused(folder, images=folder.root / "none")


def test_names_that_are_taken_are_refused(folder: Folder) -> None:
    folder.image("a.png")
    assert "already there" in refused(folder, existing_domains=("day",))
    ingest(folder)
    before = sorted(folder.destination.rglob("*"))
    with pytest.raises(DataError, match="already waiting"):
        ingest(folder)
    assert sorted(folder.destination.rglob("*")) == before


def test_before_publish_may_add_files_and_may_fail(folder: Folder) -> None:
    folder.image("a.png")

    def fail(path: Path) -> None:
        raise DataError("no")

    assert refused(folder, before_publish=fail) == "no"
    ingest(folder, before_publish=lambda path: (path / "more.json").touch())
    assert (folder.destination / "day" / "more.json").exists()


def test_a_full_disk_leaves_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.image("a.png")
    folder.image("b.png")

    def full(source: Path, target: Path) -> None:
        if Path(source).stem == "b":
            raise OSError(28, "No space left on device", str(target))
        Path(target).write_bytes(b"half")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(WorkspaceError, match=r"b\.png.*No space left on device.*; nothing was"):
        ingest(folder)
    assert [path.name for path in folder.destination.iterdir()] == [".lock"]


def test_progress_counts_to_the_total(folder: Folder) -> None:
    folder.image("a.png")
    told: list[tuple[int, int]] = []
    ingest(folder, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from pipeline.data import ingest
    root = Path(sys.argv[1])

    def stop(folder):
        if sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        print("here", flush=True)
        sys.stdin.readline()

    ingest.validate_and_stage(
        name="day", images=root / "images", classes=("a", "b"), existing_domains=(),
        destination=root / "incoming", before_publish=stop,
    )
"""


def start(folder: Folder, how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder.root), how]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


@pytest.mark.programs
def test_a_killed_ingest_leaves_only_a_hidden_folder_that_the_next_removes(folder: Folder) -> None:
    folder.image("a.png")
    with start(folder, "kill") as process:
        assert process.wait() == -signal.SIGKILL
    left = [path.name for path in folder.destination.iterdir() if path.name != ".lock"]
    assert left == [".ingest-day"]
    ingest(folder, name="other")
    left = [path.name for path in folder.destination.iterdir() if path.name != ".lock"]
    assert left == ["other"]
    ingest(folder)


@pytest.mark.programs
def test_two_ingests_at_once_do_not_meet(folder: Folder) -> None:
    folder.image("a.png")
    with start(folder, "wait") as process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        with pytest.raises(WorkspaceError, match="another `domain add` is at work"):
            ingest(folder, name="other")
        process.communicate("\n")
    assert process.returncode == 0
    assert set(os.listdir(folder.destination)) == {".lock", "day"}  # noqa: PTH208
