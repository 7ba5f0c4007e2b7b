"""Certainty in plain words, and on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.report import calibration_chart, render
from pipeline.report.data import Report

pytestmark = pytest.mark.usefixtures("charts_once")

Make = Callable[..., Report]
NEVER_WRONG = dict.fromkeys(("entropy", "margin", "least_confidence"))


def evaluation(**known: Any) -> dict[str, Any]:
    score = {"auroc": 0.871, "aupr": 0.42, "ause": 0.0123}
    bins = [(0.5, 0.45, 0.2), (0.88, 0.8, 0.3), (0.99, 0.97, 0.5)]
    values = {
        "domain": "day",
        "num_pixels": 1000,
        "error_rate": 0.185,
        "temperature": 1.4,
        "ece": 0.044,
        "ece_after": 0.012,
        "class_ece": {"road": 0.01},
        "reliability": [
            dict(zip(("confidence", "accuracy", "share"), each, strict=True)) for each in bins
        ],
        "error_detection": dict.fromkeys(("entropy", "margin", "least_confidence"), score),
    }
    return {"calibration": values | known, "teacher": {}, "baseline": {}}


def test_in_plain_words(make_report: Make) -> None:
    assert calibration_chart.sentences(make_report(evaluation=evaluation())) == [
        "Where the teacher says 88 %, it is right 80 % of the time.",
        "Over all pixels what it says is 4.4 points off (ECE), mostly because it is surer than it "
        "should be; a temperature of 1.40 would leave 1.2 points.",
        "18.5 % of the pixels are wrong. Of a wrong and a right pixel it is more unsure about the "
        "wrong one in 87 % of the pairs; 50 % would be chance.",
    ]


def test_modest_honest_and_never_wrong(make_report: Make) -> None:
    bins = [{"confidence": 0.7, "accuracy": 0.9, "share": 1.0}]
    modest = make_report(evaluation=evaluation(reliability=bins))
    assert "more modest than it should be" in calibration_chart.sentences(modest)[1]
    honest = make_report(evaluation=evaluation(ece=0.004))
    assert calibration_chart.sentences(honest)[1].endswith("close enough to be taken at its word.")
    right = make_report(evaluation=evaluation(error_detection=NEVER_WRONG))
    assert calibration_chart.sentences(right)[2].startswith("It makes no error here")
    assert calibration_chart.detection_rows(right) == []


@pytest.mark.parametrize(
    "known", [None, {"calibration": None}, {}, evaluation(domain="dusk")], ids=str
)
def test_not_yet_measurable(make_report: Make, tmp_path: Path, known: dict[str, Any]) -> None:
    report = make_report(evaluation=known)
    assert calibration_chart.sentences(report) == []
    assert calibration_chart.diagram(report) == ""
    render(report, tmp_path / "index.html")
    assert "takes a trained teacher and a validation image of day" in (
        (tmp_path / "index.html").read_text(encoding="utf-8")
    )


def test_the_section_shows_it_all(make_report: Make, tmp_path: Path) -> None:
    report = make_report(evaluation=evaluation())
    render(report, tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for words in ("right 80 % of the time", "least confidence", "0.871", "0.0123", "share that is"):
        assert words in page
