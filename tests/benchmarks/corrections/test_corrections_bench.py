"""The benchmark of corrections: what it asks for, and what its page says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmarks.camvid.day_and_dusk import CamVid
from benchmarks.corrections import __main__ as bench
from pipeline.backtest.by_minutes import by_minutes, counted
from pipeline.backtest.plan import Point
from pipeline.campaign.acts import Acts


def result(miou: list[float], acts: list[Acts]) -> dict[str, Any]:
    points = [
        Point(miou=value, share=0.001 * place, acts=each)
        for place, (value, each) in enumerate(zip(miou, acts, strict=True))
    ]
    return {
        "score_on": "val",
        "num_pool": 9,
        "num_scored": 2,
        "num_seeds": 1,
        "full_supervision_miou": 0.8,
        "strategies": {"random": {"miou": [miou], **counted([points])}},
    }


WHOLE = result([0.2, 0.6], [Acts(whole_minutes=10), Acts(whole_minutes=70)])
CLICKS = result([0.3, 0.7], [Acts(), Acts(looks=60, clicks=60 * 20)])


def test_a_case_is_what_the_command_asks_for() -> None:
    args = argparse.Namespace(data=Path("sets"), seeds=2, score_on="val", cache=None)
    camvid = CamVid(data=Path("sets/camvid"), weights=Path("weights"))
    request = bench.request_of(bench.CASES["camvid_pixels"], args, camvid)
    assert request.root == Path("sets/camvid")
    assert request.settings["acquire"] == {"audit_share": 0.0}
    assert request.settings["correct"] == bench.CORRECT
    case = bench.CASES["camvid_pixels"]
    images = case.start + case.rounds * case.query_size
    assert images <= 295  # of the pool
    assert images * case.corrections / (295 * 48 * 64) <= 0.005  # the share of cells asked for


def test_slower_acts_are_told_for_every_way_that_has_them() -> None:
    units = {"image": WHOLE, "correction": CLICKS}
    rows = bench.at_other_seconds(units)
    assert [row["seconds"] for row in rows[:3]] == [
        "0.5 x correction",
        "1 x correction",
        "2 x correction",
    ]
    told = [float(row["correction/random"].split()[0]) for row in rows[:3]]
    assert told[0] > told[1] > told[2]
    assert told[1] == pytest.approx(
        100 * by_minutes(units)["ways"]["correction/random"]["minus_reference"][0], abs=0.05
    )


def test_the_page_says_how_much_of_the_ceiling_is_reached() -> None:
    lines = bench.section({"units": {"image": WHOLE, "correction": CLICKS}, "verdict": "So."})
    assert "So." in lines
    row = next(line for line in lines if line.startswith("| correction/random"))
    assert row == "| correction/random | 68 | 0.100 | 70.0 | 87.5 |"
