from __future__ import annotations

import re
from typing import Any

from pipeline.report import training_charts
from tests.pipeline.report.test_charts import markers, texts

CLASSES = ("road", "sky", "pole")


def point(step: int, miou: float | None, **precision: float) -> dict[str, Any]:
    return {"step": step, "miou": miou, "precision": precision, "coverage": {"road": 0.5}}


def teacher(**known: Any) -> dict[str, Any]:
    facts = {
        "steps": 300,
        "trained": True,
        "loss": [2.0, 1.0],
        "supervised": [1.5, 0.8],
        "reliable_share": [0.1, 0.2],
        "monitor": [point(150, 0.4, road=0.9), point(300, None, road=0.95, sky=0.5)],
        "guard": [],
    }
    return {"teacher": {**facts, **known}}


def test_a_panel_for_everything_that_was_told() -> None:
    baseline = {"steps": 300, "loss": [2.0], "supervised": [2.0], "monitor": [point(300, 0.3)]}
    svg = training_charts.training_curves({"baseline": baseline, **teacher()})
    found = texts(svg)
    titles = ["mIoU on some val images", "loss, all terms", "supervised", "reliable share"]
    assert [text for text in found if text in titles] == titles
    assert "step" in found
    assert "var(--baseline)" in svg
    # The look that measured nothing is not drawn.
    assert (markers(svg, "teacher"), markers(svg, "baseline")) == (1, 1)
    assert "guard" not in found


def test_the_guard_is_marked_where_it_acted() -> None:
    events = [{"step": 150, "weight": 0.5}, {"step": 240, "weight": 0.25}]
    found = texts(training_charts.training_curves(teacher(guard=events)))
    assert found.count("guard") == 2


def test_nothing_trained_or_monitored_draws_nothing() -> None:
    untrained = {"trained": False, "why": "no labelled image"}
    for training in ({}, {"baseline": untrained, "teacher": {}}, teacher(monitor=[])):
        assert training_charts.class_curves(training, CLASSES) == ""
    assert training_charts.training_curves({"baseline": untrained, "teacher": {}}) == ""
    assert training_charts.training_curves({}) == ""


def test_a_panel_per_class_that_was_measured() -> None:
    svg = training_charts.class_curves(teacher(), CLASSES)
    assert [text for text in texts(svg) if text in CLASSES] == ["road", "sky"]
    assert markers(svg, "teacher") == 3


def test_of_many_classes_the_least_precise_are_shown() -> None:
    names = [f"c{number}" for number in range(40)]
    worth = {name: number / 40 for number, name in enumerate(names)}
    svg = training_charts.class_curves(teacher(monitor=[point(300, 0.5, **worth)]), names)
    assert [text for text in texts(svg) if re.fullmatch(r"c\d+", text)] == names[:24]


def test_the_same_facts_give_the_same_chart() -> None:
    assert training_charts.class_curves(teacher(), CLASSES) == training_charts.class_curves(
        teacher(), CLASSES
    )
