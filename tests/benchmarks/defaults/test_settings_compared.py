"""What is compared differs in what its name says, and results are shown as they were found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.camvid.day_and_dusk import CamVid
from benchmarks.defaults.settings_compared import SETTINGS, params_of, report


@pytest.fixture
def camvid(tmp_path: Path) -> CamVid:
    (tmp_path / "classes.csv").write_text("index,name\n0,road\n1,sky\n")
    return CamVid(data=tmp_path, weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_differs_from_the_first_where_it_says(name: str, camvid: CamVid) -> None:
    first = params_of(camvid, {}, seed=0, steps=300).model_dump()
    found = params_of(camvid, SETTINGS[name], seed=0, steps=300).model_dump()
    changed = {block for block in found if found[block] != first[block]}
    assert changed == set(SETTINGS[name])
    assert first["model"]["name"] == "deeplabv3plus"
    assert first["method"]["name"] == "supervised"


def test_a_row_has_the_mean_of_its_seeds() -> None:
    runs = [{"miou": 0.40, "cpu_s": 100, "steps": 300}, {"miou": 0.44, "cpu_s": 120, "steps": 300}]
    text = report({"one": runs, "none yet": []}, 300)
    assert "| one | 300 | 42.0 +- 2.8 | 110 | 2 |" in text
    assert "none yet" not in text
