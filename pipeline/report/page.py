"""The page: facts and pictures into the template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.audit import describe
from pipeline.files import write_text
from pipeline.report import calibration, charts, forgetting, pictures, training_charts, words
from pipeline.report.facts import ExampleFacts, LeftOutFacts, QueryItemFacts, Report
from pipeline.stopping import describe as describe_advice
from pipeline.stopping import why_finished

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


FILTERS = (words.value, words.share, words.minutes, words.count, pictures.data_uri)


def render(report: Report, out_path: Path) -> None:
    """Write one HTML file that opens offline; equal facts and images give equal bytes.

    DataError for an image that cannot be read.
    """
    environment = new_environment("pipeline.report")
    environment.filters.update({each.__name__: each for each in FILTERS})
    page = environment.get_template(TEMPLATE).render(
        report=report,
        headline=words.headline(report),
        findings=words.findings(report),
        current=words.current(report),
        audit=describe(report.audit) if report.audit else "",
        stopping=describe_advice(report.stopping) if report.stopping else [],
        why_finished=why_finished(report.stopping),
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
        certainty=calibration.sentences(report),
        reliability=drawn(calibration.diagram(report)),
        detection=calibration.detection_rows(report),
        kept=forgetting.sentences(report),
        heat_rows=forgetting.heat_rows(report),
        class_losses=forgetting.class_losses(report),
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
        teacher = words.iou(now, "teacher", report.domain, name)
        rows.append(
            ClassRow(
                name=name,
                colour=colour,
                teacher=teacher,
                baseline=words.iou(now, "baseline", report.domain, name),
                change=words.change(teacher, words.iou(before, "teacher", report.domain, name)),
            )
        )
    return rows


def _transductive_note(report: Report) -> str:
    """What the mark in the tables means; "" where nothing is marked."""
    return words.TRANSDUCTIVE_NOTE if any(row.transductive for row in report.rounds) else ""


def _domain_rows(report: Report) -> list[DomainRow]:
    now, before = report.evaluation, report.previous_evaluation
    rows = []
    for name in (now or {}).get("teacher", {}):
        teacher = words.miou(now, "teacher", name)
        rows.append(
            DomainRow(
                name=name,
                num_images=words.num_images(now, name),
                teacher=teacher,
                baseline=words.miou(now, "baseline", name),
                change=words.change(teacher, words.miou(before, "teacher", name), decimals=3),
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
