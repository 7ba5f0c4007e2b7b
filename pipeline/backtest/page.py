"""A backtest as one HTML file that opens offline: verdict, curves, table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pipeline.backtest.verdict import POINTS, SHARES
from pipeline.files import write_text
from pipeline.report import charts
from pipeline.report.page import new_environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = charts.Grid(1, (8.5, 4.2))
# Told apart by eye in both of the page's themes; random is always the dashed grey one.
COLOURS = ("#2563c9", "#b3601a", "#17753a", "#8e44ad", "#c0392b", "#0e7c86", "#7a6a00", "#d6336c")


def render(result: Mapping[str, Any], out_path: Path) -> None:
    """Write the page of a backtest's JSON; equal results give equal bytes."""
    environment = new_environment("pipeline.backtest")
    colours = _colours(result)
    style = Path(charts.__file__).with_name("report.css").read_text(encoding="utf-8")
    page = environment.get_template("backtest.html.j2").render(
        result=result,
        rows=[_row(name, result) for name in result["strategies"]],
        shares=[f"{share:.0%}" for share in SHARES],
        colours=colours,
        curves=Markup(
            charts.draw_panels([""], lambda axes, _: _draw(axes, result), "mIoU", CURVES)
        ),
        style=Markup(style),
    )
    write_text(out_path, page)


def _colours(result: Mapping[str, Any]) -> dict[str, str]:
    others = [name for name in result["strategies"] if name != "random"]
    found = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(others)}
    return found | {"random": charts.INK}


def _draw(axes: Axes, result: Mapping[str, Any]) -> None:
    colours = _colours(result)
    for name, row in result["strategies"].items():
        by_seed = np.array(row["miou"])
        mean, spread = by_seed.mean(axis=0), by_seed.std(axis=0, ddof=min(1, len(by_seed) - 1))
        style = "--" if name == "random" else "-"
        axes.plot(row["labels"], mean, style, color=colours[name], marker="o", label=name)
        axes.fill_between(
            row["labels"], mean - spread, mean + spread, color=colours[name], alpha=0.12, lw=0
        )
    axes.axhline(result["full_supervision_miou"], color=charts.INK, lw=1, ls=":")
    axes.annotate(
        "all labels", (1, result["full_supervision_miou"]), xycoords=("axes fraction", "data"),
        ha="right", va="bottom", fontsize=9,
    )  # fmt: skip
    axes.set_xlabel(f"labelled: {result['labels_unit']}")


def _row(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    row = result["strategies"][name]
    last = np.array(row["miou"])[:, -1]
    gain = row.get("aulc_minus_random")
    return {
        "name": name,
        "area": f"{POINTS * row['aulc']:.1f}",
        "gain": "" if gain is None or name == "random" else _signed(gain),
        "last": f"{POINTS * last.mean():.1f}",
        "labels_for": ["more" if n is None else str(n) for n in row["labels_for"].values()],
    }


def _signed(gain: list[float | None]) -> str:
    mean, low, high = (None if value is None else POINTS * value for value in gain)
    if low is None or high is None:
        return f"{mean:+.1f}"
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
