"""The backtest benchmark: what it asks for, and what it keeps. The replays are pipeline's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.backtest import cases as backtest
from benchmarks.camvid.day_and_dusk import CamVid
from benchmarks.methods import few_labels as methods
from pipeline.acquisition import STRATEGIES
from pipeline.backtest.plan import DEFAULT
from tests.pipeline.backtest.test_backtest_page import result_of


def new_arguments(**changes) -> argparse.Namespace:
    """Of the command without options."""
    defaults = {"data": Path("sets"), "strategies": backtest.ALL, "seeds": 5, "rounds": None}
    return argparse.Namespace(**{**defaults, "score_on": "val", "cache": None, **changes})


def test_every_strategy_runs_once() -> None:
    assert set(backtest.ALL) == {DEFAULT, *STRATEGIES}
    assert len(set(backtest.ALL)) == len(backtest.ALL)


def test_a_case_is_what_the_command_asks_for() -> None:
    case = backtest.CASES["camvid_regions"]
    camvid = CamVid(data=Path("sets/camvid"), weights=Path("weights"))
    request = backtest.request_of(case, new_arguments(rounds=2), camvid)
    assert request.root == Path("sets/camvid")
    assert (request.plan.rounds, request.plan.region_px, request.plan.seeds) == (2, 16, 5)
    assert request.settings["image"] == {"height_px": 192, "width_px": 256}
    assert request.settings["embed"]["encoder_weights"] == str(Path("weights").resolve())


def test_the_split_test_is_kept_apart_with_every_day_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtest, "RESULTS", tmp_path)
    backtest.keep("leaves", result_of("random", "default"))
    for _ in range(2):
        backtest.keep("leaves", {**result_of("random", "default"), "score_on": "test"})
    kept = {
        file.name: json.loads(file.read_text()) for file in (tmp_path / "backtest").glob("*.j*")
    }
    assert "test_read" not in kept["leaves.json"]
    assert len(kept["leaves-test.json"]["test_read"]) == 2
    text = (tmp_path / "backtest.md").read_text()
    assert "![Learning curves of leaves](backtest/leaves.svg)" in text
    assert (tmp_path / "backtest/leaves.svg").exists()
    assert "5 of test to judge by (read 20" in text
    assert "| default | 32.0 | +1.0 (+1.0 to +1.0) | 42.0 | 12 | 12 | more |" in text


def test_the_full_case_trains_by_the_knobs_of_the_methods_benchmark(tmp_path: Path) -> None:
    data = tmp_path / "camvid"
    data.mkdir()
    (data / "classes.csv").write_text("index,name\n0,sky\n1,road\n")
    camvid = CamVid(data=data, weights=Path("weights"))
    case = backtest.CASES["camvid_full"]
    request = backtest.request_of(case, new_arguments(), camvid)
    assert (request.mode, request.settings) == ("full", {})
    assert request.workspace is not None
    assert request.workspace.method.name == "mean_teacher"
    assert request.workspace.train.learning_rate == methods.TRAIN["learning_rate"]
    assert "camvid_full" not in backtest.FAST
