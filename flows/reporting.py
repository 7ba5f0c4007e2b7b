"""The report's facts, gathered from tags, ledger and metrics; `pipeline.report` renders them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from db.repository import RoundAnswers, answers, domains
from db.session import session_scope
from flows import services
from flows.forgetting import judgement_here
from flows.loop import Loop
from flows.position import Position, round_tags
from flows.shift import images_of, kept_report
from flows.steps.push import last_failure, unpushed
from flows.watch_alarm import alarm_facts
from pipeline import layout
from pipeline.answers import read_answers
from pipeline.audit import AuditEstimate, audit_estimate
from pipeline.colours import class_colours
from pipeline.evaluation import parse_evaluation
from pipeline.query import by_image, read_query
from pipeline.reading import read
from pipeline.report.facts import (
    ExampleFacts,
    LeftOutFacts,
    QueryItemFacts,
    Report,
    RoundFacts,
    ShiftFacts,
)
from pipeline.stopping import Advice, parse_advice

NUM_EXAMPLES = 4
PACKAGES = (
    "ssl-loop",
    "torch",
    "segmentation-models-pytorch",
    "prefect",
    "dvc",
    "label-studio-sdk",
)


def round_facts(loop: Loop) -> tuple[RoundFacts, ...]:
    """One row per computed round, in order of arrival and round; the current one included."""
    tags = round_tags(loop.params.domains, loop.workspace.tags_merged())
    found = [(domain, index, tag, _metrics_at(loop, tag)) for domain, index, tag in tags]
    here = loop.position()
    if here and not here.computed and (loop.root / layout.EVALUATION).exists():
        now = {
            layout.EVALUATION: _evaluation(loop.root / layout.EVALUATION),
            layout.TEACHER_TRAINING: _json(loop.root / layout.TEACHER_TRAINING),
        }
        found.append((here.domain, here.round_index, here.tag, now))
    with session_scope(loop.ledger, read_only=True) as session:
        given = {
            (domain, row.round_index): row
            for domain in domains(session)
            for row in answers(session, domain)
        }
    asked_by_regions = {domain for (domain, _), row in given.items() if row.regions_asked}
    pixels = {domain: pool_pixels(loop, domain) for domain in asked_by_regions}
    rows = [_row(*each, given.get((each[0], each[1]))) for each in found]
    return tuple(
        replace(row, pixel_share=given[key].pixels_accepted / pixels[row.domain])
        if (key := (row.domain, row.round_index)) in given and row.domain in pixels
        else row
        for row in rows
    )


def pool_pixels(loop: Loop, domain: str) -> int:
    """Of all images of a domain that people may be or were asked for."""
    total = 0
    for sample in loop.workspace.manifest():
        asked = sample.split == "pool" or sample.origin == "annotated"
        if sample.domain == domain and asked and sample.origin != "ground_truth":
            with Image.open(loop.root / sample.image) as image:  # the header alone is read
                total += image.width * image.height
    return total


def _metrics_at(loop: Loop, tag: str) -> dict[Path, dict[str, Any]]:
    training = loop.workspace.file_at(tag, layout.TEACHER_TRAINING)
    return {
        layout.EVALUATION: loop.workspace.evaluation_at(tag),
        layout.TEACHER_TRAINING: training.json(dict[str, Any], lenient=True),
    }


def _row(
    domain: str,
    index: int,
    tag: str,
    metrics: dict[Path, dict[str, Any]],
    given: RoundAnswers | None,
) -> RoundFacts:
    evaluation, training = metrics[layout.EVALUATION], metrics[layout.TEACHER_TRAINING]
    miou = {
        kind: evaluation[kind].get(domain, {}).get("val", {}).get("miou")
        for kind in ("baseline", "teacher")
    }
    return RoundFacts(
        domain=domain,
        round_index=index,
        tag=tag,
        labelled=evaluation["labelled"],
        annotated=evaluation["annotated_by_domain"].get(domain, 0),
        miou_baseline=miou["baseline"],
        miou_teacher=miou["teacher"],
        accepted=given.accepted if given else 0,
        skipped=given.skipped if given else 0,
        corrected=given.corrected if given else 0,
        quarantined=given.quarantined if given else 0,
        minutes=given.lead_minutes if given and given.accepted else None,
        regions=given.regions_accepted if given else 0,
        reliable_share=next(iter(training.get("reliable_share", [])[-1:]), None),
        transductive=evaluation.get("transductive", False),
    )


def render_report(loop: Loop) -> Path:
    """Write report/index.html for what lies in the working copy; its path."""
    from pipeline.report import render  # matplotlib: only when a report is wanted

    here = loop.require_position()
    advice = _advice(loop)
    rounds = round_facts(loop)
    not_pushed = unpushed(loop)
    report = Report(
        workspace_name=loop.root.name,
        domain=here.domain,
        round_index=here.round_index,
        class_names=tuple(loop.params.classes),
        class_colours=class_colours(loop.params.num_classes),
        rounds=rounds,
        evaluation=_evaluation(loop.root / layout.EVALUATION),
        previous_evaluation=_previous_evaluation(loop, here, rounds),
        training={
            "baseline": _json(loop.root / layout.BASELINE_TRAINING),
            "teacher": _json(loop.root / layout.TEACHER_TRAINING),
        },
        query=() if advice and advice.closes else _query(loop),
        pseudo_label_examples=_examples(loop, here),
        left_out=_left_out(loop, here),
        alarms=alarm_facts(loop),
        versions=_versions(loop, here),
        audit=audit_of(loop, here.domain),
        stopping=advice,
        forgetting=judgement_here(loop.workspace),
        confidence_threshold=loop.params.method.confidence_threshold,
        links=services.links(loop.root),
        shifts=_shifts(loop),
        not_pushed=tuple(not_pushed),
        push_failure=last_failure(loop, not_pushed),
    )
    path = loop.root / layout.REPORT
    render(report, path)
    return path


def _previous_evaluation(
    loop: Loop, here: Position, rounds: tuple[RoundFacts, ...]
) -> dict[str, Any] | None:
    """Of the newest computed round but this one."""
    before = [row.tag for row in rounds if row.tag != here.tag]
    return loop.workspace.evaluation_at(before[-1]) if before else None


def _shifts(loop: Loop) -> tuple[ShiftFacts, ...]:
    """What was said of each domain when it arrived; each report's page is written beside."""
    found = []
    for domain in loop.params.domains:
        kept = kept_report(loop, domain)
        if kept is not None:
            from pipeline.shift import page

            file = layout.REPORT.with_name(f"shift-{domain}.html")
            page.render(kept, images_of(loop, domain), loop.root / file)
            found.append(
                ShiftFacts(domain=domain, in_words=tuple(kept["in_words"]), page=file.name)
            )
    return tuple(found)


def audit_of(loop: Loop, domain: str) -> AuditEstimate | None:
    """The audit estimate of a domain; None where nothing drawn at random was merged yet."""
    answers = [row for row in read_answers(loop.root / layout.ANSWERS) if row.domain == domain]
    if not any(row.source == "audit" for row in answers):
        return None
    return audit_estimate(answers, loop.params.num_classes)


def _advice(loop: Loop) -> Advice | None:
    path = loop.root / layout.STOPPING
    return parse_advice(read(path)) if path.exists() else None


def _query(loop: Loop) -> tuple[QueryItemFacts, ...]:
    path = loop.root / layout.QUERY
    images = {sample.sample_id: sample.image for sample in loop.workspace.manifest()}
    return tuple(
        QueryItemFacts(
            sample_id=asked.sample_id,
            rank=asked.rank,
            score=asked.score,
            source=asked.source,
            reason=asked.reason,
            image_path=loop.root / images[asked.sample_id],
            pseudo_label_path=_made(loop.root, layout.PSEUDO_LABELS, asked.sample_id),
            uncertainty_path=_made(loop.root, layout.UNCERTAINTY, asked.sample_id),
            minutes=asked.minutes,
            boxes=asked.boxes,
        )
        for asked in by_image(read_query(path))
    )


def _examples(loop: Loop, here: Position) -> tuple[ExampleFacts, ...]:
    """A few unlabelled images, the same in every round: first by the hash of their id."""
    pool = [s for s in loop.workspace.manifest() if s.unlabelled and s.domain == here.domain]
    chosen = sorted(pool, key=lambda s: hashlib.sha256(s.sample_id.encode()).digest())
    found = []
    for sample in chosen[:NUM_EXAMPLES]:
        mask = _made(loop.root, layout.PSEUDO_LABELS, sample.sample_id)
        confidence = _made(loop.root, layout.CONFIDENCE, sample.sample_id)
        if mask and confidence:
            found.append(
                ExampleFacts(
                    sample_id=sample.sample_id,
                    image_path=loop.root / sample.image,
                    pseudo_label_path=mask,
                    confidence_path=confidence,
                )
            )
    return tuple(found)


def _left_out(loop: Loop, here: Position) -> tuple[LeftOutFacts, ...]:
    return tuple(
        LeftOutFacts(sample_id=s.sample_id, reason=s.left_out, image_path=loop.root / s.image)
        for s in loop.workspace.manifest()
        if s.left_out and s.domain == here.domain
    )


def _versions(loop: Loop, here: Position) -> dict[str, str]:
    found = {"tag": here.tag}
    for name, folder in (("baseline", layout.BASELINE), ("teacher", layout.TEACHER)):
        weights = loop.root / folder / "model.safetensors"
        if weights.exists():
            with weights.open("rb") as file:
                found[f"{name} weights (SHA-256)"] = hashlib.file_digest(file, "sha256").hexdigest()
    params = (loop.root / layout.PARAMS).read_bytes()
    found["params.yaml (SHA-256)"] = hashlib.sha256(params).hexdigest()
    return found | {package: version(package) for package in PACKAGES}


def _made(root: Path, folder: Path, sample_id: str) -> Path | None:
    path = root / layout.sample_png(folder, sample_id)
    return path if path.exists() else None


def _evaluation(path: Path) -> dict[str, Any]:
    return parse_evaluation(read(path)) if path.exists() else {}


def _json(path: Path) -> dict[str, Any]:
    return read(path).json(dict[str, Any], lenient=True) if path.exists() else {}
