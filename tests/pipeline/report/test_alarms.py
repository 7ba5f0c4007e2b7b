"""What the report says of shifts in incoming images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.report.data import AlarmFacts, Report
from tests.pipeline.report.test_round_page import HOSTILE, Make, Page, html_of

ALARM = AlarmFacts(
    at="2026-05-04T17:21:09+00:00",
    folder="/camera",
    since="frame_0412.jpg",
    image="frame_0424.jpg",
    num_images=13,
    nearest_domain="day",
    suspicion=12345.6,
    opened=None,
)


def test_each_shift_is_a_row_and_names_are_escaped(make_report: Make, tmp_path: Path) -> None:
    report: Report = make_report()
    assert "Shifts in incoming images" not in Page(html_of(report, tmp_path)).text
    hostile = replace(ALARM, since=HOSTILE, folder=HOSTILE, opened="shift-1")
    page = Page(html_of(replace(report, alarms=(ALARM, hostile)), tmp_path))
    assert page.named("script") == []
    for shown in ("2026-05-04 17:21", "frame_0424.jpg", "12346", "shift-1", HOSTILE):
        assert shown in page.text
