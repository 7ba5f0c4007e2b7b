"""A watched folder: files are taken once they are written to their end, and again when changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline import layout
from pipeline.deploy import watching
from pipeline.deploy.deployed_model import ModelChoice
from pipeline.deploy.folder_run import Outputs, folder_run
from pipeline.deploy.watching import watch
from pipeline.errors import DataError

pytestmark = pytest.mark.heavy  # each trains a tiny network


def test_files_that_arrive_are_predicted(
    predicted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    now = [watching.time.time()]
    monkeypatch.setattr(watching.time, "time", lambda: now[0])
    masks: list[list[str]] = []

    def wait(_: float) -> None:
        """Each look: what is there, then the next thing that happens."""
        masks.append(sorted(path.name for path in (out / "masks").glob("*.png")))
        if len(masks) == 1:
            shutil.copy(images / "00.png", folder / "a.png")  # too fresh to be whole
            now[0] = (folder / "a.png").stat().st_ctime + 1.0
        elif len(masks) == 2:
            now[0] += 5.0
        elif len(masks) == 3:
            shutil.copy(images / "01.png", folder / "b.png")
            (folder / "c.png").write_bytes(b"no image")
            now[0] = (folder / "c.png").stat().st_ctime + 5.0
        elif len(masks) == 6:
            raise KeyboardInterrupt

    choice = ModelChoice(folder=predicted / layout.TEACHER)
    with folder_run(choice, Outputs(out=out)) as run, pytest.raises(KeyboardInterrupt):
        watch(run, [str(folder)], wait)
    assert masks == [[], [], ["a.png"], ["a.png", "b.png"], ["a.png", "b.png"], ["a.png", "b.png"]]
    assert [Path(each["image"]).name for each in run.summary.failed] == ["c.png"]  # once
    with folder_run(choice, Outputs(out=out)) as run, pytest.raises(KeyboardInterrupt):
        watch(run, [str(folder)], wait=lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert (run.summary.predicted, run.summary.there_before) == (0, 2)


def test_only_folders_are_watched(predicted: Path, images: Path, tmp_path: Path) -> None:
    choice = ModelChoice(folder=predicted / layout.TEACHER)
    refused = pytest.raises(DataError, match="--watch looks at folders")
    with folder_run(choice, Outputs(out=tmp_path)) as run, refused:
        watch(run, [str(images / "00.png")])
