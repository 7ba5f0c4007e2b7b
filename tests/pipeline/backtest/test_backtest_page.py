"""A backtest's page and plot, from a planted result."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from pipeline.backtest import backtest_page
from pipeline.backtest.significance import summary, verdict

RANDOM = [[0.20, 0.30, 0.40], [0.22, 0.32, 0.42]]


def result_of(*names: str, mode: str = "fast") -> dict[str, Any]:
    """Each strategy is a point better than the one before it."""
    curves = {
        name: [[value + 0.01 * place for value in seed] for seed in RANDOM]
        for place, name in enumerate(names)
    }
    found = summary(curves, [4, 8, 12], full=0.44)
    facts = {"data": "leaves", "labels_unit": "images", "score_on": "val", "default": "k_center"}
    counts = {"num_pool": 30, "num_scored": 5, "num_seeds": 2}
    return {
        **facts,
        **counts,
        "mode": mode,
        "model": "unet trained by fixmatch",
        "full_supervision_miou": 0.44,
        "strategies": found,
        "verdict": verdict(found),
    }


def render(result: dict[str, Any], folder: Path) -> str:
    backtest_page.render(result, folder / "page.html")
    return (folder / "page.html").read_text()


def test_the_first_strategys_verdict_is_the_headline(tmp_path: Path) -> None:
    text = render(result_of("random", "default", "entropy"), tmp_path)
    assert "<h1>default seems better than random: +1.0 points" in text
    assert "<li>entropy seems better than random: +2.0 points" in text
    assert "unet trained by fixmatch" in text
    assert "<code>k_center</code>, which the loop uses" in text


def test_what_the_fast_mode_cannot_say_is_said_of_it_alone(tmp_path: Path) -> None:
    warning = "not to be set beside"
    assert warning in render(result_of("random", "default"), tmp_path)
    assert warning not in render(result_of("random", "default", mode="full"), tmp_path)


def test_without_random_the_page_says_that_there_is_nothing_to_compare(tmp_path: Path) -> None:
    text = render(result_of("entropy"), tmp_path)
    assert "<h1>Nothing to compare" in text
    assert "For 95% of what all masks give, in images: entropy needs more than 12." in text


def test_the_table_holds_strategies_against_both_kinds_of_random() -> None:
    result = result_of("random", "stratified_random", "entropy")
    columns = backtest_page.columns_of(result)
    assert columns[:3] == ["area", "difference to random", "difference to stratified_random"]
    assert columns[-1] == "images for 98%"
    rows = dict(backtest_page.rows_of(result))
    assert [len(figures) for figures in rows.values()] == [len(columns)] * 3
    assert rows["random"][1] == ""
    assert rows["stratified_random"][1:3] == ["+1.0 (+1.0 to +1.0)", ""]
    assert rows["entropy"][1:3] == ["+2.0 (+2.0 to +2.0)", "+1.0 (+1.0 to +1.0)"]
    # 90 % of .44 is .396: a point below random's last mean, so between 8 and 12 labels.
    assert rows["random"][-3:] == ["12", "more", "more"]


def test_what_is_needed_is_told_of_the_first_and_of_random() -> None:
    result = result_of("random", "entropy", "margin")
    result["strategies"] = dict(reversed(result["strategies"].items()))
    assert backtest_page.labels_in_words(result) == (
        "For 95% of what all masks give, in images: margin needs 12, random needs more than 12."
    )


@pytest.mark.parametrize("num_others", [1, 7])
def test_the_plot_is_a_file_of_its_own(num_others: int) -> None:
    names = ["random", "default", *(f"other_{number}" for number in range(num_others))]
    svg = backtest_page.curves_svg(result_of(*names))
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in svg
    shown = " ".join("".join(text.itertext()) for text in root.iter(f"{root.tag[:-3]}text"))
    assert all(name in shown for name in names)
    assert "default: k_center" in shown
    assert "all 30 masks: 44.0" in shown


def test_hostile_names_are_text(tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>$\\frac{$"
    result = result_of("random", hostile) | {"data": hostile, "model": hostile}
    text = render(result, tmp_path)
    assert text.count(escape(hostile)) >= 3
    assert not re.search(r"<script|<img src=x", text)
    shown = "".join(ET.fromstring(backtest_page.curves_svg(result)).itertext())
    assert hostile in shown
