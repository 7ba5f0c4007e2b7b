"""Which images the rules of the estimate are compared on, and how far off is counted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.camvid.day_and_dusk import CamVid
from benchmarks.shift import rules_report as report
from benchmarks.shift.rules import BLOCK, dealt, together
from pipeline.data.corruptions import ALTERATIONS

SAID = {"half": (0.1, 0.05), "noise": (0.2, 0.4)}
NETWORK = {
    "network": "small-300",
    "learnt": "all",
    "seed": 0,
    "device": "a machine",
    "rehearsals": {name: {"said": said, "true": true} for name, (said, true) in SAID.items()},
    "asked": {
        name: {"said": 0.1, "true": 0.06, "direction": {"half": 1.0, "noise": 0.0}}
        for name in ("as it is", "half", "together 0", "dusk")
    },
}


@pytest.fixture
def camvid(tmp_path: Path) -> CamVid:
    rows = [("id", "split", "sequence", "frame", "domain")]
    for drive, num in (("0006R0", 100), ("0016E5", 200)):
        rows += [(f"{drive}_{n:04d}", "train", drive, str(n), "day") for n in range(num)]
    rows.append(("Seq05VD_0000", "test", "Seq05VD", "0", "day"))
    with (tmp_path / "splits.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return CamVid(data=tmp_path, weights=tmp_path)


@pytest.mark.parametrize("learnt", ["all", "28", "0006r0", "0016e5"])
def test_nothing_asked_about_is_learnt_and_test_is_not_looked_at(
    camvid: CamVid, learnt: str
) -> None:
    day = dealt(camvid, learnt)
    learnt_from = {stem for stem, split in day.rows.items() if split != "val"}
    assert not learnt_from & {*day.val, *day.target}
    assert not {*day.val} & {*day.target}
    assert len(day.val) % BLOCK == 0
    assert not any(stem.startswith("Seq05VD") for stem in {*day.rows, *day.target})
    labelled = [stem for stem, split in day.rows.items() if split == "labelled"]
    assert len(labelled) == (28 if learnt == "28" else len(learnt_from))
    if learnt.startswith("0"):
        assert {stem[:6].lower() for stem in day.target} == {"0006r0", "0016e5"} - {learnt}


def test_several_alterations_at_once_are_none_of_those_rehearsed() -> None:
    found = together()
    assert found == together()
    assert not set(found.values()) & set(ALTERATIONS.values())


def test_an_alteration_is_not_rehearsed_where_it_is_asked_about() -> None:
    half, several = (
        report.AskedGroup(NETWORK, name, NETWORK["asked"][name]) for name in ("half", "together 0")
    )
    plain = report.RULES["least squares, all alike"]
    assert half.off(plain) == pytest.approx(0.06 - 2 * 0.1)
    scale = (0.1 * 0.05 + 0.2 * 0.4) / (0.1**2 + 0.2**2)
    assert several.off(plain) == pytest.approx(0.06 - scale * 0.1)
    assert abs(several.off(report.RULES[report.IN_USE])) < abs(several.off(plain))
    assert half.off(report.RULES["thresholds alone"]) == pytest.approx(-0.04)


def test_dusk_stands_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    apart = NETWORK | {"learnt": "0006r0"}
    report.write_report([NETWORK, apart])
    text = (tmp_path / "shift_rules.md").read_text()
    choosing, dusk = text.split("## Dusk")
    assert "| thresholds alone | 4.0 (-4.0) |" in choosing
    assert "-4.0 to -4.0; 2 within 6" in dusk
    assert "a machine" in choosing
