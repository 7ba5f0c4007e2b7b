"""Curves of one round's trainings; drawn like those of pipeline/report/charts.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.charts import INK, SERIES, SMALL, TEACHER, draw_panels, line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASS_PANELS = 24  # four rows of small ones
CURVE_TITLES = {"miou": "mIoU on some val images", "loss": "loss, all terms"}


def training_curves(training: dict[str, Any]) -> str:
    """Losses, shares and the monitored mIoU against steps; "" when nothing was trained."""
    panels = {name: _series(training, name) for name in ("miou", *_curve_names(training))}
    known = [name for name, series in panels.items() if series]

    def draw(axes: Axes, name: str) -> None:
        for which, points in panels[name].items():
            line(axes, points, SERIES[which], marker="." if name == "miou" else "")
        if name == "miou":
            _mark_guard(axes, training)
        top = 1 if name.endswith("_share") else None
        title = CURVE_TITLES.get(name, name.replace("_", " "))
        axes.set(title=title, xlabel="step", xlim=(0, None), ylim=(0, top))

    return draw_panels(known, draw, "")


def class_curves(training: dict[str, Any], class_names: Sequence[str]) -> str:
    """One small panel per class: pseudo-label precision, and coverage dashed, against steps.

    Of many classes those that end least precise; "" when the teacher was not monitored.
    """
    points = (training.get("teacher") or {}).get("monitor") or []
    curves = {
        key: {
            name: [(p["step"], p[key][name]) for p in points if name in p[key]]
            for name in class_names
        }
        for key in ("precision", "coverage")
    }
    # A class without a pixel on val has neither; one without a pseudo-label is covered by 0.
    known = [name for name in class_names if curves["precision"][name] or curves["coverage"][name]]
    ends = {name: (curves["precision"][name] or [(0, 0.0)])[-1][1] for name in known}
    worst = set(sorted(known, key=lambda name: ends[name])[:MAX_CLASS_PANELS])

    def draw(axes: Axes, name: str) -> None:
        line(axes, curves["coverage"][name], INK, marker="", linestyle="--", linewidth=1.2)
        line(axes, curves["precision"][name], TEACHER, marker=".")
        axes.set(title=name, ylim=(0, 1.04), xlim=(0, points[-1]["step"] * 1.02))

    return draw_panels([name for name in known if name in worst], draw, " ", SMALL)


def _curve_names(training: dict[str, Any]) -> list[str]:
    """What every step told, by any of the two trainings: the sum first, then its first term."""
    told = [
        name
        for which in SERIES
        for name, values in (training.get(which) or {}).items()
        if isinstance(values, list) and values and isinstance(values[0], float)
    ]
    return list(dict.fromkeys(["loss", "supervised", *sorted(told)]))


def _series(training: dict[str, Any], name: str) -> dict[str, list[tuple[float, float]]]:
    """(step, value) of the trainings that have the curve; "miou" is the monitor's."""
    found = {}
    for which in SERIES:
        facts = training.get(which) or {}
        if name == "miou":
            looks = facts.get("monitor") or []
            points = [(float(p["step"]), p["miou"]) for p in looks if p["miou"] is not None]
        else:
            values = facts.get(name) or []
            stretch = facts.get("steps", 0) / max(1, len(values))
            points = [((place + 0.5) * stretch, value) for place, value in enumerate(values)]
        if points:
            found[which] = points
    return found


def _mark_guard(axes: Axes, training: dict[str, Any]) -> None:
    for event in (training.get("teacher") or {}).get("guard") or []:
        axes.axvline(event["step"], color=INK, linestyle=":", linewidth=1.2)
        axes.annotate(
            "guard",
            (event["step"], 0.02),
            xytext=(3, 0),
            textcoords="offset points",
            xycoords=("data", "axes fraction"),
        )
