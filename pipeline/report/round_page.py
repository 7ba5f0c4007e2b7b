"""The page: facts and pictures into the template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.campaign.stopping import describe as describe_advice
from pipeline.files import write_text
from pipeline.metrics.audit_estimate import describe
from pipeline.report import (
    calibration_chart,
    charts,
    forgetting_table,
    pictures,
    text,
    training_charts,
)
from pipeline.report.data import ExampleFacts, LeftOutFacts, QueryItemFacts, Report

TEMPLATE = "report.html.j2"
NUM_LEFT_OUT_SHOWN, THUMBNAIL_PX = 24, 200


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class in the table of IoUs."""

    name: str
    colour: str
    teacher: float | None
    baseline: float | None
    change: str


@dataclass(frozen=True, kw_only=True)
class DomainRow:
    """One domain in the table of mIoUs."""

    name: str
    num_images: int
    teacher: float | None
    baseline: float | None
    change: str


FILTERS = (text.value, text.share, text.minutes, text.count, pictures.data_uri)


def render(report: Report, out_path: Path) -> None:
    """Write one HTML file that opens offline; equal facts and images give equal bytes.

    DataError for an image that cannot be read.
    """
    environment = new_environment("pipeline.report")
    environment.filters.update({each.__name__: each for each in FILTERS})
    page = environment.get_template(TEMPLATE).render(
        report=report,
        headline=text.headline(report),
        findings=text.findings(report),
        current=text.current(report),
        audit=describe(report.audit) if report.audit else "",
        stopping=describe_advice(report.stopping) if report.stopping else [],
        classes=_class_rows(report),
        domains=_domain_rows(report),
        predicted=any(item.pseudo_label_path for item in report.query),
        query=[_query_item(item, report) for item in report.query],
        by_regions=any(row.regions for row in report.rounds),
        examples=[_example(item, report) for item in report.pseudo_label_examples],
        left_out=[_left_out(item) for item in report.left_out[:NUM_LEFT_OUT_SHOWN]],
        curves=drawn(charts.learning_curves(report.rounds)),
        coverage=drawn(charts.coverage(report.rounds)),
        training=drawn(training_charts.training_curves(report.training)),
        class_curves=drawn(training_charts.class_curves(report.training, report.class_names)),
        certainty=calibration_chart.sentences(report),
        reliability=drawn(calibration_chart.diagram(report)),
        detection=calibration_chart.detection_rows(report),
        kept=forgetting_table.sentences(report),
        heat_rows=forgetting_table.heat_rows(report),
        class_losses=forgetting_table.class_losses(report),
        transductive=bool((report.evaluation or {}).get("transductive")),
        transductive_note=_transductive_note(report),
        heat=", ".join(pictures.HEAT),
        style=drawn((Path(__file__).parent / "report.css").read_text(encoding="utf-8")),
    )
    write_text(out_path, page)


def drawn(markup: str) -> Markup:
    """What a template shows as it is: our own style, or a chart."""
    # matplotlib escapes every text that it writes into an SVG.
    return Markup(markup)  # nosec B704


def new_environment(package: str) -> Environment:
    """Templates of a package: everything escaped, an unknown name an error."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _class_rows(report: Report) -> list[ClassRow]:
    now, before = report.evaluation, report.previous_evaluation
    rows = []
    for name, colour in zip(report.class_names, report.class_colours, strict=True):
        teacher = text.iou(now, "teacher", report.domain, name)
        rows.append(
            ClassRow(
                name=name,
                colour=colour,
                teacher=teacher,
                baseline=text.iou(now, "baseline", report.domain, name),
                change=text.change(teacher, text.iou(before, "teacher", report.domain, name)),
            )
        )
    return rows


def _transductive_note(report: Report) -> str:
    """What the mark in the tables means; "" where nothing is marked."""
    return text.TRANSDUCTIVE_NOTE if any(row.transductive for row in report.rounds) else ""


def _domain_rows(report: Report) -> list[DomainRow]:
    now, before = report.evaluation, report.previous_evaluation
    rows = []
    for name in (now or {}).get("teacher", {}):
        teacher = text.miou(now, "teacher", name)
        rows.append(
            DomainRow(
                name=name,
                num_images=text.num_images(now, name),
                teacher=teacher,
                baseline=text.miou(now, "baseline", name),
                change=text.change(teacher, text.miou(before, "teacher", name), decimals=3),
            )
        )
    return rows


def _query_item(item: QueryItemFacts, report: Report) -> dict[str, Any]:
    image_HWC = pictures.small_image(item.image_path, item.boxes)
    shown: dict[str, Any] = {"facts": item, "photo": image_HWC, "overlay": None, "heat": None}
    if item.pseudo_label_path:
        colours = report.class_colours
        shown["overlay"] = pictures.overlay(image_HWC, item.pseudo_label_path, colours, item.boxes)
    if item.uncertainty_path:
        shown["heat"] = pictures.heat_map(item.uncertainty_path)
    return shown


def _left_out(item: LeftOutFacts) -> dict[str, Any]:
    return {
        "facts": item,
        "photo": pictures.small_image(item.image_path, long_side_px=THUMBNAIL_PX),
    }


def _example(item: ExampleFacts, report: Report) -> dict[str, Any]:
    image_HWC = pictures.small_image(item.image_path)
    pseudo_label_HWC = pictures.pseudo_label(
        image_HWC,
        item.pseudo_label_path,
        item.confidence_path,
        colours=report.class_colours,
        tau=report.confidence_threshold,
    )
    return {"sample_id": item.sample_id, "photo": image_HWC, "pseudo_label": pseudo_label_HWC}
