"""What cannot be written: one line, and nothing half written stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.formats.images import save_mask
from pipeline.errors import WorkspaceError
from pipeline.files import alone, append, failure_words, replacing, write_json, write_text
from pipeline.metrics.per_image import Areas, write_areas
from pipeline.records.answers import write_answers
from pipeline.records.manifest import write_manifest

WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_text(path, "x" * 100),
    "json": lambda path: write_json(path, {"a": 1}),
    "manifest": lambda path: write_manifest(path, []),
    "answers": lambda path: write_answers(path, []),
    "mask": lambda path: save_mask(path, np.zeros((4, 4), np.uint8)),
    "areas": lambda path: write_areas(path, {"d": (["a"], Areas(*[np.ones((1, 2))] * 3))}),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk(writer: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file.png"
    path.write_text("as it was")
    # Every write to this device fails as on a full disk.
    path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(WorkspaceError) as caught:
        writer(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: cannot be written: No space left on device (")
    assert said.endswith("; make space and try again")
    assert "free there" in said
    assert "\n" not in said
    assert [each.name for each in tmp_path.iterdir()] == ["file.png"]
    assert path.read_text() == "as it was"


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_place_where_nobody_may_write(writer: Callable[[Path], None]) -> None:
    with pytest.raises(WorkspaceError, match=r"^/sys/file.png: cannot be written: .*try again$"):
        writer(Path("/sys/file.png"))


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(WorkspaceError, match=r"folder/file: cannot be written: .*try again"):
        write_text(tmp_path / "folder/file", "x")
    with (
        pytest.raises(WorkspaceError, match=r"folder/lock: cannot be written"),
        alone(tmp_path / "folder/lock", "busy"),
    ):
        pass


def test_what_a_file_is_made_of_is_not_mistaken_for_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "to"):
        (tmp_path / "from").read_bytes()


@pytest.mark.programs
def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from pipeline.files import append\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "append(Path('log'), b'x' * 60)\n"
        "append(Path('log'), b'y' * 60)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert "log: cannot be written: " in done.stderr
    assert "free there, 60 bytes needed); make space" in done.stderr
    assert (tmp_path / "log").read_bytes() == b"x" * 60
    append(tmp_path / "log", b"z")
    assert (tmp_path / "log").read_bytes() == b"x" * 60 + b"z"


def test_an_error_that_nobody_foresaw_is_one_line() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "No space left on device (" in failure_words(full)
    assert failure_words(full).endswith("; make space and try again")
    locked = OSError(errno.EROFS, "Read-only file system", "/w/data")
    assert failure_words(locked).startswith("/w/data: cannot be written: Read-only file system; ")
    lost = OSError(errno.ENOENT, "No such file or directory", "/w/x")
    assert failure_words(lost).startswith("/w/x: No such file or directory; see that it is there")
