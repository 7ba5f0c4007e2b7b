"""A backtest as one HTML file that opens offline: verdict, curves, table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.acquisition import DEFAULT
from pipeline.backtest.significance import POINTS, REFERENCES, SHARES, sentences
from pipeline.files import write_text
from pipeline.report import charts
from pipeline.report.round_page import drawn, new_environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = charts.PanelGrid(1, (8.5, 4.6))
# Told apart by eye in both of the page's themes; random is always the dashed grey one.
COLOURS = ("#2563c9", "#b3601a", "#17753a", "#8e44ad", "#c0392b", "#0e7c86", "#7a6a00", "#d6336c")
BANDS = 4  # with more strategies only random and the first have one
TOLD = f"{SHARES[1]:.0%}"  # of full supervision: the share that is told in words


def render(result: Mapping[str, Any], out_path: Path) -> None:
    """Write the page of a backtest's JSON; equal results give equal bytes."""
    environment = new_environment("pipeline.backtest")
    style = Path(charts.__file__).with_name("report.css").read_text(encoding="utf-8")
    said = sentences(result["strategies"]) or [result["verdict"]]
    page = environment.get_template("backtest.html.j2").render(
        result=result,
        headline=said[0],
        others=said[1:],
        labels=labels_in_words(result),
        rows=rows_of(result),
        columns=columns_of(result),
        curves=drawn(_curves(result)),
        style=drawn(style),
    )
    write_text(out_path, page)


def curves_svg(result: Mapping[str, Any]) -> str:
    """The learning curves as an SVG file."""
    return charts.standalone(_curves(result))


def columns_of(result: Mapping[str, Any]) -> list[str]:
    """Column heads of the table of figures, as in `rows_of`."""
    unit = result["labels_unit"]
    against = [f"difference to {name}" for name in _references(result)]
    return ["area", *against, "last mIoU", *(f"{unit} for {share:.0%}" for share in SHARES)]


def rows_of(result: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows of the table: (strategy, figures), in the order in which strategies were named."""
    return [
        (name, _figures(name, row, _references(result)))
        for name, row in result["strategies"].items()
    ]


def labels_in_words(result: Mapping[str, Any]) -> str:
    """Labels that the first strategy and random need for `TOLD` of full supervision, in words."""
    rows, unit = result["strategies"], result["labels_unit"]
    told = dict.fromkeys([*list(rows)[:1], *(name for name in rows if name == "random")])
    needed = {name: rows[name]["labels_for"][TOLD] for name in told}
    needs = [
        f"{name} needs more than {rows[name]['labels'][-1]}"
        if number is None
        else f"{name} needs {number}"
        for name, number in needed.items()
    ]
    return f"For {TOLD} of what all masks give, in {unit}: {', '.join(needs)}."


def _references(result: Mapping[str, Any]) -> list[str]:
    return [name for name in REFERENCES if name in result["strategies"]]


def _figures(name: str, row: Mapping[str, Any], references: list[str]) -> list[str]:
    last = np.array(row["miou"])[:, -1]
    return [
        f"{POINTS * row['aulc']:.1f}",
        *("" if name == each else _signed(row[f"aulc_minus_{each}"]) for each in references),
        f"{POINTS * last.mean():.1f}",
        *("more" if number is None else str(number) for number in row["labels_for"].values()),
    ]


def _signed(gain: list[float | None]) -> str:
    mean, low, high = (None if value is None else POINTS * value for value in gain)
    if low is None or high is None:
        return f"{mean:+.1f}"
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _curves(result: Mapping[str, Any]) -> str:
    return charts.draw_panels(
        [""], lambda axes, _: _draw(axes, result), "mIoU on what judges, points", CURVES
    )


def _draw(axes: Axes, result: Mapping[str, Any]) -> None:
    names = list(result["strategies"])
    others = [name for name in names if name != "random"]
    for name, row in result["strategies"].items():
        by_seed = POINTS * np.array(row["miou"])
        mean, spread = by_seed.mean(axis=0), by_seed.std(axis=0, ddof=min(1, len(by_seed) - 1))
        plain = name == "random"
        colour = charts.INK if plain else COLOURS[others.index(name) % len(COLOURS)]
        label = f"default: {result['default']}" if name == DEFAULT else name
        style = "--" if plain else "-"
        axes.plot(row["labels"], mean, style, color=colour, marker="o", label=label)
        if len(names) <= BANDS or plain or name == others[0]:
            edges = mean - spread, mean + spread
            axes.fill_between(row["labels"], *edges, color=colour, alpha=0.12, lw=0)
    full = POINTS * result["full_supervision_miou"]
    axes.axhline(full, color=charts.INK, lw=1, ls=":")
    axes.annotate(
        f"all {result['num_pool']} masks: {full:.1f}",
        (0, full),
        xycoords=("axes fraction", "data"),
        xytext=(4, 3),
        textcoords="offset points",
        fontsize=9,
    )
    axes.set_xlabel(f"labelled: {result['labels_unit']}")
    axes.legend(loc="lower right", frameon=False, ncols=1 + len(names) // 6)
