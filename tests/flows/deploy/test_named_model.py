"""A model by tag: the bytes that were tagged, and nothing of the work tree touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.deploy.named_model import named_model
from flows.versions.find_models import folder_hash
from flows.workspace.dvc.dvc_cache import cache_of
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.errors import ModelError, WorkspaceError
from tests.flows.conftest import hashes


def test_the_teacher_of_a_tag(shifted: Path) -> None:
    workspace = Workspace(shifted)
    before = hashes(shifted, "data", "models", "predictions")
    for tag in ("day/r0", "day/r1", "day/final", "dusk/ingest"):
        with named_model(tag, shifted) as named:
            expected = workspace.locked_outs(tag)[layout.TEACHER.as_posix()]
            assert folder_hash(named.folder) == expected
            assert named.params is not None
            assert named.members == "none"
        assert not named.folder.exists()
    assert hashes(shifted, "data", "models", "predictions") == before
    assert workspace.git.run("status", "--porcelain") == b""


def test_a_folder_is_itself(shifted: Path, tmp_path: Path) -> None:
    with named_model(str(shifted / layout.BASELINE), tmp_path) as named:
        assert named.folder == shifted / layout.BASELINE
        assert named.params is not None
    (tmp_path / "alone/model").mkdir(parents=True)
    with named_model(str(tmp_path / "alone/model"), tmp_path) as named:
        assert (named.params, named.members) == (None, "none")


def test_what_the_cache_lost_is_named_with_the_way_back(shifted: Path) -> None:
    workspace = Workspace(shifted)
    md5 = workspace.locked_outs("day/r0")[layout.TEACHER.as_posix()]
    cache_of(workspace).object(md5).unlink()
    refused = pytest.raises(WorkspaceError, match="models/teacher; `ssl-loop restore day/r0 --into")
    with refused, named_model("day/r0", shifted):
        pass


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("day/r7", WorkspaceError, "near it: day/r"),
        ("day/ingest", ModelError, "no round was computed by then"),
    ],
)
def test_what_has_no_model_is_refused(
    shifted: Path, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), named_model(name, shifted):
        pass
