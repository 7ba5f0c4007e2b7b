"""A shift report as one HTML file that opens offline: verdict, figures, maps, images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import write_text
from pipeline.report import charts, pictures
from pipeline.report.round_page import drawn, new_environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAP = charts.PanelGrid(1, (6.4, 4.2))
REHEARSED = charts.PanelGrid(1, (6.4, 3.8))
WIDE = charts.PanelGrid(1, (8.5, 2.8))
NAMED = 0.4  # of the largest fall: smaller ones lie too close together for words
SHOWN_PX = 260  # long side of a picture
SIDES = {"a": charts.TEACHER, "b": charts.BASELINE}


def render(found: Mapping[str, Any], images: Mapping[str, Path], out_path: Path) -> None:
    """Write the page of a report's JSON; equal reports and images give equal bytes.

    `images` are files by sample id; those that are not there are not shown.
    """
    environment = new_environment("pipeline.shift")
    environment.filters["data_uri"] = pictures.data_uri
    style = Path(charts.__file__).with_name("report.css").read_text(encoding="utf-8")
    said = found["in_words"]
    page = environment.get_template("shift.html.j2").render(
        found=found,
        headline=said[0],
        reasons=said[1:],
        rows=_rows(found),
        classes=_class_rows(found),
        unlike=_unlike(found, images),
        scatter=drawn(charts.draw_panels([""], _drawing(_scatter, found), "", MAP)),
        histograms=drawn(_histograms(found)),
        rehearsals=drawn(_rehearsals(found)),
        layers=drawn(_layers(found)),
        style=drawn(style),
    )
    write_text(out_path, page)


def _drawing(
    draw: Callable[[Axes, Mapping[str, Any], str], None], found: Mapping[str, Any]
) -> Callable[[Axes, str], None]:
    return lambda axes, title: draw(axes, found, title)


def _scatter(axes: Axes, found: Mapping[str, Any], title: str) -> None:
    for side, colour in SIDES.items():
        places = found["map"][side]
        axes.scatter(
            [x for x, *_ in places],
            [y for _, *rest in places for y in rest[:1]],
            s=16,
            color=colour,
            alpha=0.75,
            linewidths=0,
            label=found[side],
        )
    axes.set(xlabel="first principal component", ylabel="second", title=title)
    axes.set_aspect("equal", adjustable="datalim")


def _histograms(found: Mapping[str, Any]) -> str:
    if "histograms" not in found:
        return ""

    def draw(axes: Axes, title: str) -> None:
        shares = found["histograms"][title]
        edges = [place / len(shares["a"]) for place in range(len(shares["a"]) + 1)]
        for side, colour in SIDES.items():
            axes.stairs([100 * share for share in shares[side]], edges, color=colour, lw=2)
        axes.set(title=title, xlabel=f"{title} of a pixel", yscale="log")

    return charts.draw_panels(["entropy", "confidence"], draw, "% of the pixels")


def _layers(found: Mapping[str, Any]) -> str:
    rows = found["layers"]
    if not rows:
        return ""

    def draw(axes: Axes, _: str) -> None:
        places = range(1, len(rows) + 1)
        axes.plot(places, [row["distance"] for row in rows], color=charts.BASELINE, marker="o")
        within = [row["within"] for row in rows]
        if None not in within:
            axes.plot(places, within, color=charts.INK, linestyle="--", lw=1.2)
        axes.set(xlabel="layer, from the image on", yscale="log")

    return charts.draw_panels([""], draw, "nats", WIDE)


def _rehearsals(found: Mapping[str, Any]) -> str:
    rows = found.get("rehearsals") or []
    if not rows:
        return ""

    def draw(axes: Axes, _: str) -> None:
        falls = [(100 * row["expected_fall"], 100 * row["true_fall"]) for row in rows]
        told, true = zip(*falls, strict=True)
        alike = [row.get("direction", 0.0) for row in rows]
        sizes = [12 + 110 * max(0.0, each) for each in alike]
        axes.scatter(told, true, s=sizes, color=charts.TEACHER, alpha=0.8, linewidths=0)
        here = 100 * (found["source_miou"][0] - found["expected_by_threshold"])
        for row, (x, y) in zip(rows, falls, strict=True):
            if max(x, y) > NAMED * max(*told, *true):
                side = (
                    {"xytext": (-5, -3), "ha": "right"}
                    if y > x or x < here
                    else {"xytext": (5, -3)}
                )
                axes.annotate(row["name"], (x, y), textcoords="offset points", size=8, **side)
        furthest = max(here, *told)
        axes.plot([0, furthest], [0, found["fall_scale"] * furthest], color=charts.TEACHER, lw=1.2)
        axes.plot([0, furthest], [0, furthest], color=charts.INK, linestyle="--", lw=1)
        axes.axvline(here, color=charts.BASELINE, lw=1.5)
        axes.set(xlabel="fall expected by thresholds, points of mIoU")

    return charts.draw_panels([""], draw, "true fall, points", REHEARSED)


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of the table of figures: (name, of a or within a, of b or between both)."""
    between = [
        ("proxy A-distance, 0 to 2", "0", _interval(found["proxy_a_distance"], 1, 2)),
        (
            "Frechet distance of embeddings",
            _plain(found["frechet_within"]),
            _plain(found["frechet_distance"]),
        ),
        ("novelty: distance to the nearest known image", "1", _plain(found["novelty"], 2)),
        ("mIoU, points", _points(found["source_miou"]), _points(found["expected_miou"])),
    ]
    said = [
        (name, _plain(found[name]["a"]), _plain(found[name]["b"]))
        for name in ("entropy", "confidence", "disagreement")
        if name in found
    ]
    js = found.get("class_prior_js")
    prior = [] if js is None else [("divergence of the predicted classes, bits", "0", _plain(js))]
    return [*between, *said, *prior]


def _class_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of the table of classes: (class, share predicted in a, in b, expected IoU in b)."""
    if "class_prior" not in found:
        return []
    expected = found["expected_iou"] or {}
    return [
        (
            name,
            f"{100 * share:.1f} %",
            f"{100 * found['class_prior']['b'][name]:.1f} %",
            _class_iou(found, expected.get(name)),
        )
        for name, share in found["class_prior"]["a"].items()
    ]


def _class_iou(found: Mapping[str, Any], iou: float | None) -> str:
    if iou is not None:
        return f"{100 * iou:.0f}"
    return "not yet measurable" if found["expected_iou"] else ""


def _unlike(found: Mapping[str, Any], images: Mapping[str, Path]) -> list[dict[str, Any]]:
    return [
        {
            "sample_id": each["sample_id"],
            "distance": f"{each['distance']:.2f}",
            "photo": pictures.small_image(images[each["sample_id"]], long_side_px=SHOWN_PX),
        }
        for each in found["most_unlike"]
        if each["sample_id"] in images and images[each["sample_id"]].exists()
    ]


def _plain(value: float | None, decimals: int = 3) -> str:
    return "not known" if value is None else f"{value:.{decimals}f}"


def _points(values: list[float] | None) -> str:
    return _interval(values, 100, 1)


def _interval(values: list[float] | None, times: float, decimals: int) -> str:
    if values is None:
        return "not known"
    value, low, high = (f"{times * each:.{decimals}f}" for each in values)
    return f"{value} ({low} to {high})"
