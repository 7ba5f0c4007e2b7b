"""The section on older domains: what a reader sees of a planted matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.campaign.forgetting import Forgetting, Judgement, judge, row_of
from pipeline.report import forgetting_table, render, text
from pipeline.report.data import Report

Evaluation = Callable[..., dict]


def judged(evaluation: Evaluation, now: float | None = 0.55, *, refuse: bool = False) -> Judgement:
    rows = (
        row_of("day", "day/r2", evaluation(day=(0.5, 0.6))),
        row_of("dusk", "dusk/r1", evaluation(day=(0.5, now), dusk=(0.3, 0.4))),
    )
    return judge(Forgetting(rows=rows), 0.01, refuse=refuse)


def test_the_matrix_says_what_is_there_and_what_is_not(
    make_report: Callable[..., Report], evaluation: Evaluation
) -> None:
    report = make_report(forgetting=judged(evaluation))
    (first, (day, dusk)), (second, (later, own)) = forgetting_table.heat_rows(report)
    assert (first, second) == ("day/r2", "dusk/r1")
    assert [cell.text for cell in (day, dusk, later, own)] == ["0.600", "", "0.550", "0.400"]
    assert [cell.own for cell in (day, dusk, later, own)] == [True, False, False, True]
    assert day.strength > later.strength > 0  # darkest: the best of the column
    unknown = forgetting_table.heat_rows(make_report(forgetting=judged(evaluation, None)))[1][1][0]
    assert (unknown.text, unknown.known) == ("not yet measurable", False)


def test_classes_that_lost_most_come_first_and_absent_ones_are_left_out(
    make_report: Callable[..., Report], evaluation: Evaluation
) -> None:
    found = judged(evaluation)
    found.found.rows[-1].iou["day"]["sky"] = 0.3
    losses = forgetting_table.class_losses(make_report(forgetting=found))
    assert [(loss.name, loss.change) for loss in losses] == [("sky", "−0.30"), ("road", "−0.05")]
    assert losses[0].best == 0.6  # pole is in neither


def test_the_findings_name_only_what_is_beyond(
    make_report: Callable[..., Report], evaluation: Evaluation
) -> None:
    told = text.findings(make_report(forgetting=judged(evaluation, refuse=True)))
    assert any(said.startswith("day fell by 0.050") for said in told)
    assert any("is refused" in said for said in told)
    calm = make_report(forgetting=judged(evaluation, 0.6))
    assert not any("day is kept" in said for said in text.findings(calm))
    assert forgetting_table.sentences(calm)[0].startswith("day is kept")


def test_the_page_has_the_section_from_the_second_domain_on(
    make_report: Callable[..., Report], evaluation: Evaluation, tmp_path: Path
) -> None:
    report = make_report(forgetting=judged(evaluation))
    render(report, tmp_path / "two.html")
    assert "Are the older domains kept?" in (tmp_path / "two.html").read_text()
    alone = Forgetting(rows=report.forgetting.found.rows[:1])
    render(replace(report, forgetting=judge(alone, 0.01)), tmp_path / "one.html")
    assert "Are the older domains kept?" not in (tmp_path / "one.html").read_text()
