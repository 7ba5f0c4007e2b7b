"""Both sides learn from the same images, and test is neither's to learn from."""

from __future__ import annotations

import ast
import csv
from pathlib import Path

import pytest

from benchmarks.defaults import __main__ as defaults
from benchmarks.defaults.__main__ import PLAIN, report, splits_of, with_labels
from pipeline.files import write_json


@pytest.fixture
def data(tmp_path: Path) -> Path:
    splits = ["train"] * 60 + ["val"] * 5 + ["test"] * 7
    rows = [(f"{n:03d}", split, "day") for n, split in enumerate(splits)]
    with (tmp_path / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split", "domain"), *rows, ("x", "train", "dusk")])
    return tmp_path


def test_labels_are_drawn_from_the_pool_alone_and_by_the_seed(data: Path) -> None:
    rows = splits_of(data, "day", 4)
    assert list(rows.values()).count("test") == 7
    assert {stem for stem, split in rows.items() if split == "val"} == {
        f"{n:03d}" for n in range(60) if n // 4 % 5 == 2
    }
    assert "x" not in rows
    first, again, other = (with_labels(rows, 12, seed) for seed in (0, 0, 1))
    assert first == again != other
    drawn = {stem for stem, split in first.items() if split == "labelled"}
    assert len(drawn) == 12
    assert {rows[stem] for stem in drawn} == {"pool"}


def test_the_script_is_plain() -> None:
    text = PLAIN.read_text()
    assert len(text.splitlines()) <= 80
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in imported if str(node.module).startswith("pipeline")]


def test_a_row_compares_what_had_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "RESULTS", tmp_path)
    for seed, (teacher, plain) in enumerate([(0.50, 0.45), (0.54, 0.47)]):
        found = {
            "teacher": teacher,
            "baseline": 0.4,
            "plain": plain,
            "cpu_s": 660,
            "contest": {"kept": ("probe", "unet")[seed]},
            "params": {"model": {"name": "unet"}},
        }
        write_json(tmp_path / f"defaults/camvid-28-quick-seed-{seed}.json", found)
    row = "| quick | camvid | 28 | 52.0 +- 2.8 | 40.0 +- 0.0 | 46.0 +- 1.4 | +6.0 +- 1.4 | 1 of 2 |"
    assert f"{row} 11.0 | 2 |" in (report())
