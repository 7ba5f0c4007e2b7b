"""The package as programs see it: quick to import, the loop's own pixels, plans and no traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ssl_loop
from flows.domains.add import add_domain
from flows.workspace.create import create_workspace
from pipeline import layout
from pipeline.data.formats.images import load_mask
from pipeline.errors import DataError, ModelError
from tests.pipeline.deploy.conftest import (
    images,
    make_workspace,
    predicted,
    tiny_params,
    write_video,
)

__all__ = ["images", "make_workspace", "predicted", "tiny_params"]

# What takes long to import, and by which the start of a program would be late.
BIG = {"torch", "numpy", "pandas", "prefect", "sqlalchemy", "dvc", "click", "pydantic"}


@pytest.mark.programs
def test_importing_it_loads_nothing_big() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import ssl_loop, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "ssl_loop" in said
    assert BIG.isdisjoint(said)
    assert not [name for name in said if name.startswith(("pipeline.", "flows."))]


def test_every_name_is_there_and_says_what_it_is() -> None:
    for name in ssl_loop.__all__:
        assert getattr(ssl_loop, name).__doc__
    assert dir(ssl_loop) == ssl_loop.__all__
    with pytest.raises(AttributeError, match="no 'prefict', expected one of"):
        _ = ssl_loop.prefict


def test_masks_are_the_loops_own(predicted: Path, images: Path) -> None:
    model = ssl_loop.load_model(predicted / layout.TEACHER)
    found = list(ssl_loop.predict(model, [images]))
    assert [each.path.name for each in found] == sorted(p.name for p in images.iterdir())
    said = {each.path.stem: each.classes_HW for each in found}
    stored = list((predicted / layout.PSEUDO_LABELS / "day").glob("*.png"))
    assert len(stored) == 7
    for path in stored:
        np.testing.assert_array_equal(said[path.stem], load_mask(path, len(model.classes)))


def test_what_cannot_be_predicted_is_named(predicted: Path, tmp_path: Path) -> None:
    model = ssl_loop.load_model(predicted / layout.TEACHER)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png: not an image"):
        list(ssl_loop.predict(model, [tmp_path / "a.png"]))
    write_video(tmp_path / "b.avi", [np.zeros((8, 8, 3), np.uint8)] * 2, 1)
    with pytest.raises(DataError, match=r"b\.avi: a video; `ssl-loop predict` takes"):
        list(ssl_loop.predict(model, [tmp_path / "b.avi"]))
    with pytest.raises(ModelError):
        ssl_loop.load_model(tmp_path)


@pytest.mark.programs
def test_a_plan_says_why_and_writes_nothing(tmp_path: Path, images: Path) -> None:
    root = tmp_path / "scene"
    create_workspace(root, class_names=("road", "car"))
    add_domain(root, "day", images=images)
    before = (root / layout.PARAMS).read_bytes()
    made = ssl_loop.plan(root, profile="quick")
    assert made.profile == "quick"
    assert all(choice.reason for choice in made.choices)
    assert (root / layout.PARAMS).read_bytes() == before
