"""The methods benchmark: its plan, its draws, its table. The training itself is pipeline's."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import pytest

from benchmarks.camvid.day_and_dusk import CamVid
from benchmarks.methods import few_labels as methods
from benchmarks.methods import methods_report
from pipeline.methods import METHODS


def new_plan(**changes) -> list[methods.MethodRun]:
    """The plan of the command's defaults, with changes."""
    defaults = {"methods": list(METHODS), "fractions": ["1/8"], "seeds": 3, "other_seeds": 1}
    settings = {"steps": 300, "model": "pspnet", "size": "128x160"}
    return methods.plan_of(argparse.Namespace(**{**defaults, **settings, **changes}))


def new_result(method: str, seed: int, miou: float) -> dict[str, object]:
    setting = {"model": "pspnet", "labelled_fraction": "1/8", "steps": 300, "labelled": 46}
    where = {"image_size": "128x160", "device": "cpu"}
    return {"method": method, "seed": seed, "miou": miou, **setting, **where}


@pytest.fixture
def camvid(tmp_path: Path) -> CamVid:
    """200 day and 100 dusk frames of the train split, 20 of the test split."""
    with (tmp_path / "splits.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "split", "domain"))
        rows.writerows((f"day{index:03}", "train", "day") for index in range(200))
        rows.writerows((f"dusk{index:03}", "train", "dusk") for index in range(100))
        rows.writerows((f"test{index:03}", "test", "day") for index in range(20))
    return CamVid(data=tmp_path, weights=tmp_path / "none")


def test_the_plan_has_every_method_and_three_seeds_of_the_main_ones() -> None:
    plan = new_plan()
    assert {run.method for run in plan} == set(METHODS)
    few = [run for run in plan if run.labelled_fraction != methods.ALL]
    assert len(few) == len(METHODS) + 2 * len(methods.SEVERAL_SEEDS)
    assert [run.method for run in plan if run not in few] == ["supervised"] * 3
    assert len({run.name for run in plan}) == len(plan)


def test_a_seed_draws_the_same_labelled_images_for_every_method(camvid: CamVid) -> None:
    runs = new_plan(methods=["supervised", "fixmatch"], fractions=["1/16", "1/8", "1/4"])
    drawn = {run.name: methods.labelled_of(camvid, run) for run in runs}
    ceilings = {run.name for run in runs if run.labelled_fraction == methods.ALL}
    assert {len(drawn.pop(name)) for name in ceilings} == {300 - 60}  # every fifth block is val
    for run in (run for run in runs if run.name not in ceilings):
        assert len(drawn[run.name]) == round(367 / int(run.labelled_fraction[2:]))
        other = run.name.replace(run.method, "supervised")
        assert drawn[run.name] == drawn[other]
        assert not any(stem.startswith("test") for stem in drawn[run.name])
    assert len({frozenset(stems) for stems in drawn.values()}) == 9


def test_gains_are_differences_to_the_same_seed() -> None:
    scores = {"supervised": (0.30, 0.40), "fixmatch": (0.33, 0.44), "cct": (0.29,)}
    runs = [
        new_result(method, seed, miou)
        for method, mious in scores.items()
        for seed, miou in enumerate(mious)
    ]
    rows = methods_report.rows_of(runs)
    assert [row["method"] for row in rows] == ["fixmatch", "supervised", "cct"]
    assert rows[0]["mIoU"] == "38.5 +- 7.8"
    assert rows[0]["gain"] == "+3.5 +- 0.7"
    assert rows[2]["gain"] == "-1.0"


def test_the_report_is_a_list_a_table_and_a_plot(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(methods_report, "RESULTS", tmp_path)
    methods_report.write_report([new_result("supervised", 0, 0.3), new_result("cps", 0, 0.31)])
    assert (tmp_path / "methods.svg").read_text().startswith("<?xml")
    assert "| cps | 1 | 31.0 | +1.0 | 31.0 | - |" in (tmp_path / "methods.md").read_text()
    assert '"labelled_fraction": "1/8"' in (tmp_path / "methods.json").read_text()


def test_the_ceiling_is_held_against_the_baseline_of_each_fraction() -> None:
    runs = [new_result("supervised", seed, 0.30 + 0.1 * seed) for seed in range(2)]
    ceiling = [new_result("supervised", seed, 0.35 + 0.1 * seed) for seed in range(2)]
    ceiling = [run | {"labelled_fraction": "1/1", "labelled": 287} for run in ceiling]
    quarter = [run | {"labelled_fraction": "1/4", "miou": 0.39} for run in runs]
    settings = methods_report.by_setting([*ceiling, *runs, *quarter])
    assert settings == [runs, quarter]
    said = methods_report.ceiling_of(runs, [*ceiling, *runs, *quarter])
    assert "with all 287 labels: 40.0 +- 7.1, gain +5.0 +- 0.0" in said
    assert "gain +1.0 +- 7.1" in methods_report.ceiling_of(quarter, [*ceiling, *quarter])
    assert "not run" in methods_report.ceiling_of(runs, runs)
