"""Curves over the rounds as inline SVG that takes its colours from the page, light or dark.

matplotlib is imported when a chart is drawn, not with the module.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.report.data import RoundFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in these, then replaced by what CSS decides.
INK, LINE, TEACHER, BASELINE = "#010101", "#020202", "#030303", "#040404"
CSS = {
    INK: "var(--muted)",
    LINE: "var(--line)",
    TEACHER: "var(--teacher)",
    BASELINE: "var(--baseline)",
}
SERIES = {"baseline": BASELINE, "teacher": TEACHER}
PAGE_INCHES = 11.2  # the page's text width at 96 px an inch


class PanelGrid(NamedTuple):
    """How many panels stand side by side, and how large each is."""

    per_row: int
    inches: tuple[float, float]


LARGE = PanelGrid(3, (4.8, 2.7))  # at most; three side by side are narrower
SMALL = PanelGrid(6, (1.9, 1.5))
STYLE: Any = {
    "svg.hashsalt": "ssl-loop",  # ids by content, so that equal facts are equal files
    "svg.fonttype": "none",  # text stays text, in the page's font
    "text.parse_math": False,  # a class may be called $x$
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "lines.solid_capstyle": "round",
}

MIN_SPAN = 0.05  # of mIoU that the learning curves show at least


def learning_curves(rounds: Sequence[RoundFacts]) -> str:
    """One panel per domain: mIoU against labels, rounds marked; "" when nothing is measurable."""
    panels = {
        domain: rows
        for domain, rows in _by_domain(rounds).items()
        if any(row.miou_teacher is not None or row.miou_baseline is not None for row in rows)
    }

    def draw(axes: Axes, domain: str) -> None:
        from matplotlib.ticker import MaxNLocator

        for name, colour in SERIES.items():
            points = _points(panels[domain], name)
            line(axes, points, colour)
            # Never so fine that noise between seeds looks like a rise or a fall.
            around = [(x, y + sign * MIN_SPAN / 2) for x, y in points[:1] for sign in (-1, 1)]
            axes.update_datalim(around)
        _mark_rounds(axes, panels[domain])
        axes.set(title=domain, xlabel="labelled images")
        axes.yaxis.set_major_formatter("{x:.2f}")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.margins(x=0.12, y=0.18)

    return draw_panels(list(panels), draw, "mIoU")


def coverage(rounds: Sequence[RoundFacts]) -> str:
    """One panel per domain: reliable share per round; "" when it is not known for any."""
    panels = {
        domain: [
            (float(row.round_index), row.reliable_share)
            for row in rows
            if row.reliable_share is not None
        ]
        for domain, rows in _by_domain(rounds).items()
    }
    known = [domain for domain, points in panels.items() if points]

    def draw(axes: Axes, domain: str) -> None:
        from matplotlib.ticker import MaxNLocator

        line(axes, panels[domain], TEACHER)
        axes.set(title=domain, xlabel="round", ylim=(0, 1))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.margins(x=0.12)

    return draw_panels(known, draw, "reliable share")


def _by_domain(rounds: Sequence[RoundFacts]) -> dict[str, list[RoundFacts]]:
    domains = dict.fromkeys(row.domain for row in rounds)
    return {domain: [row for row in rounds if row.domain == domain] for domain in domains}


def _points(rows: Sequence[RoundFacts], name: str) -> list[tuple[float, float]]:
    """Labels and mIoU of the rounds in which "teacher" or "baseline" was measurable."""
    both = [(row.labelled, getattr(row, f"miou_{name}")) for row in rows]
    return [(labelled, score) for labelled, score in both if score is not None]


def _mark_rounds(axes: Axes, rows: Sequence[RoundFacts]) -> None:
    for row in rows:
        known = [score for score in (row.miou_teacher, row.miou_baseline) if score is not None]
        if known:
            axes.annotate(
                f"r{row.round_index}",
                (row.labelled, max(known)),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
            )


def line(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    colour: str,
    marker: str = "o",
    **style: Any,
) -> None:
    """(x, y) joined."""
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, marker=marker, **style)


def draw_panels(
    titles: list[str], draw: Callable[[Axes, str], None], label: str, size: PanelGrid = LARGE
) -> str:
    """One chart per title, with one scale if there is a `label` for it."""
    if not titles:
        return ""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    columns = min(size.per_row, len(titles))
    rows = -(-len(titles) // columns)
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever this machine's matplotlibrc says
        mpl.rcParams.update(STYLE)
        width = min(PAGE_INCHES, columns * size.inches[0])
        figure = Figure(figsize=(width, rows * size.inches[1]), layout="constrained")
        FigureCanvasSVG(figure)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=bool(label))
        for place, axes in enumerate(grid.flat):
            if place < len(titles):
                draw(axes, titles[place])
                axes.set_ylabel(label if place % columns == 0 else "")
            else:
                axes.set_axis_off()
        return _inline(figure)


def standalone(svg: str) -> str:
    """A chart of `draw_panels` as a file of its own, in the colours of the page's light theme."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    for name, colour in re.findall(r"--(\w+): (#\w+);", css.split("@media")[0]):
        svg = svg.replace(f"var(--{name})", colour)
    opening = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" '
    svg = svg.replace("<svg ", opening, 1).replace('style="', 'style="background: #ffffff; ', 1)
    return re.sub(r"font-family: inherit;? ?", "", svg) + "\n"


def _inline(figure: Figure) -> str:
    """The SVG element alone, scaled by the page, without ids that a second chart would repeat."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r'<svg [^>]*?width="([\d.]+)pt"[^>]*?>', _opening(svg), svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"font: (\w+ )*([\d.]+px) [^;\"]*", r"font-weight: 600; font-size: \2", svg)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    for drawn, shown in CSS.items():
        svg = svg.replace(drawn, shown)
    return svg


def _opening(svg: str) -> str:
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box, "matplotlib writes a viewBox"
    width = float(box[1])
    return (
        f'<svg viewBox="0 0 {box[1]} {box[2]}" style="max-width: {width * 4 / 3:.0f}px" role="img"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
