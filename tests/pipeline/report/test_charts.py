from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from pipeline.report import charts
from pipeline.report.data import RoundFacts

Row = Callable[..., RoundFacts]
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter() if element.tag in ("text", SVG + "text")]


def markers(svg: str, colour: str) -> int:
    """Drawn points of a series."""
    return len(re.findall(rf"<use [^>]*var\(--{colour}\)", svg))


def test_a_panel_per_domain_with_its_rounds_marked(round_row: Row) -> None:
    rows = [round_row("day", 0), round_row("day", 1), round_row("dusk", 0)]
    found = texts(charts.learning_curves(rows))
    assert {"day", "dusk", "labelled images", "mIoU"} <= set(found)
    assert [text for text in found if re.fullmatch(r"r\d", text)] == ["r0", "r1", "r0"]


def test_what_is_not_measurable_is_not_drawn(round_row: Row) -> None:
    unknown = round_row("day", 0, miou_baseline=None, miou_teacher=None)
    half = round_row("day", 1, miou_baseline=None)
    svg = charts.learning_curves([unknown, half, round_row("day", 2)])
    assert markers(svg, "teacher") == 2
    assert markers(svg, "baseline") == 1
    assert "r0" not in texts(svg)
    assert charts.learning_curves([unknown]) == ""
    assert charts.learning_curves([]) == ""


def test_a_flat_curve_is_drawn_flat_with_every_value_of_its_scale_once(round_row: Row) -> None:
    rows = [
        round_row("day", index, miou_baseline=0.430, miou_teacher=0.430 + index / 1000)
        for index in range(3)
    ]
    scale = [text for text in texts(charts.learning_curves(rows)) if text.startswith("0.")]
    assert len(scale) == len(set(scale)) >= 3


def test_coverage_shows_a_share_of_zero_but_not_an_unknown_one(round_row: Row) -> None:
    rows = [round_row("day", 0, reliable_share=None), round_row("day", 1, reliable_share=0.0)]
    assert markers(charts.coverage(rows), "teacher") == 1
    assert charts.coverage(rows[:1]) == ""


def test_colours_and_fonts_are_the_page_s(round_row: Row) -> None:
    svg = charts.learning_curves([round_row("day", 0), round_row("day", 1)])
    assert not re.search("#0[1-4]0[1-4]0[1-4]", svg)
    assert "DejaVu" not in svg
    assert "<style" not in svg
    assert "<g id=" not in svg


def test_the_same_facts_give_the_same_chart_on_another_day(round_row: Row) -> None:
    rows = [round_row("day", 0), round_row("day", 1)]
    first = charts.learning_curves(rows)
    assert charts.learning_curves(rows) == first
    assert not re.search(r"\d{4}-\d\d-\d\d|matplotlib", first)


def test_a_matplotlibrc_of_the_user_changes_nothing(round_row: Row) -> None:
    import matplotlib as mpl

    rows = [round_row("day", 0)]
    first = charts.learning_curves(rows)
    with mpl.rc_context({"font.size": 30, "lines.linestyle": "--", "xtick.direction": "in"}):
        assert charts.learning_curves(rows) == first


@pytest.mark.programs
def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import pipeline.report, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
