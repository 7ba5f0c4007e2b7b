"""The file lock that keeps a second process out: exclusive, and gone with its holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import WorkspaceError
from pipeline.files import file_lock

HOLD = (
    "import sys, time; from pathlib import Path; from pipeline.files import file_lock\n"
    "with file_lock(Path(sys.argv[1])) as ours: print(ours, flush=True); time.sleep(300)"
)


@pytest.mark.programs
def test_a_lock_is_exclusive_and_falls_with_a_killed_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("what somebody wrote")
    argv = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "True\n"
            with file_lock(path) as ours:
                assert not ours
        finally:
            holder.kill()
    with file_lock(path, wait=True) as ours:
        assert ours
    assert path.read_text() == "what somebody wrote"


def test_an_error_under_the_lock_passes_and_frees_it(tmp_path: Path) -> None:
    for error in (TimeoutError("ours"), OSError("ours")):  # as those of locking itself
        with pytest.raises(OSError, match=r"^ours$"), file_lock(tmp_path / "lock"):
            raise error
    with file_lock(tmp_path / "lock") as ours:
        assert ours


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    said = f"{tmp_path}: cannot be written: Is a directory"
    with pytest.raises(WorkspaceError, match=said), file_lock(tmp_path):
        pass
