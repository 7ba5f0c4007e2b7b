"""Whether the teacher knows what it does not know: sentences and a chart, from evaluation.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.report.charts import INK, TEACHER, draw_panels, line
from pipeline.report.data import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXAMPLE = 0.9  # the confidence that the first sentence is about, as nearly as there is one
CLOSE = 0.02  # a gap that needs no action
SCORES = {
    "entropy": "entropy",
    "margin": "margin",
    "least_confidence": "least confidence",
}


def facts(report: Report) -> dict[str, Any] | None:
    """What evaluation.json says of this report's domain; None = not yet measurable."""
    found: dict[str, Any] | None = (report.evaluation or {}).get("calibration")
    return found if found and found["domain"] == report.domain else None


def sentences(report: Report) -> list[str]:
    """For someone who has never heard of calibration; empty where nothing is measurable."""
    found = facts(report)
    return [] if found is None else [_example(found), _overall(found), *_errors(found)]


def detection_rows(report: Report) -> list[dict[str, Any]]:
    """`score`, `auroc`, `aupr`, `ause` of every score that could be judged."""
    detection = (facts(report) or {"error_detection": {}})["error_detection"]
    return [
        {"score": SCORES.get(name, name), **values}
        for name, values in detection.items()
        if values is not None
    ]


def diagram(report: Report) -> str:
    """The share of right pixels against confidence, and where the two are equal."""
    found = facts(report)
    if found is None:
        return ""
    points = [(each["confidence"], each["accuracy"]) for each in found["reliability"]]
    low = min(0.9, *(min(pair) for pair in points))

    def draw(axes: Axes, title: str) -> None:
        line(axes, [(low, low), (1, 1)], INK, marker="", linestyle="--", linewidth=1.2)
        line(axes, points, TEACHER)
        axes.set(title=title, xlabel="confidence: what the teacher says", aspect="equal")
        axes.margins(0.04)

    return draw_panels([report.domain], draw, "share that is right")


def _example(found: dict[str, Any]) -> str:
    bins = found["reliability"]
    near = min(bins, key=lambda each: abs(each["confidence"] - EXAMPLE))
    return (
        f"Where the teacher says {100 * near['confidence']:.0f} %, it is right "
        f"{100 * near['accuracy']:.0f} % of the time."
    )


def _overall(found: dict[str, Any]) -> str:
    said = sum(each["share"] * each["confidence"] for each in found["reliability"])
    right = sum(each["share"] * each["accuracy"] for each in found["reliability"])
    text = f"Over all pixels what it says is {100 * found['ece']:.1f} points off (ECE)"
    if found["ece"] < CLOSE:
        return f"{text}: close enough to be taken at its word."
    kind = "surer than it should be" if said > right else "more modest than it should be"
    return (
        f"{text}, mostly because it is {kind}; a temperature of {found['temperature']:.2f} would "
        f"leave {100 * found['ece_after']:.1f} points."
    )


def _errors(found: dict[str, Any]) -> list[str]:
    entropy = found["error_detection"].get("entropy")
    if entropy is None:
        return ["It makes no error here, so whether it is unsure about its errors cannot be said."]
    return [
        f"{100 * found['error_rate']:.1f} % of the pixels are wrong. Of a wrong and a right pixel "
        f"it is more unsure about the wrong one in {100 * entropy['auroc']:.0f} % of the pairs; "
        "50 % would be chance."
    ]
