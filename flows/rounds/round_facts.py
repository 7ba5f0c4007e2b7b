"""Facts of rounds from tags, ledger and metrics: what report, status and history show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from db.repository import (
    RoundAnswers,
    annotation_versions,
    answers,
    domains,
    query_items,
    rounds,
)
from db.session import session_scope
from db.tables import Annotation, Verdict
from flows.ledger.round_events import find_note
from flows.loop import Loop
from flows.workspace.position import round_tags
from pipeline import layout
from pipeline.campaign.idle_time import IdleTime, PublishedQuery, idle_time
from pipeline.metrics.audit_estimate import AuditEstimate, audit_estimate
from pipeline.reading import read
from pipeline.records.answers import read_answers
from pipeline.records.evaluation import parse_evaluation
from pipeline.report.data import RoundFacts


def round_facts(loop: Loop) -> tuple[RoundFacts, ...]:
    """One row per computed round, in order of arrival and round; the current one included."""
    tags = round_tags(loop.read_params().domains, loop.workspace.tags_merged())
    found = [(domain, index, tag, _metrics_at(loop, tag)) for domain, index, tag in tags]
    here = loop.position()
    if here and not here.computed and (loop.root / layout.EVALUATION).exists():
        now = {
            layout.EVALUATION: evaluation_in(loop.root / layout.EVALUATION),
            layout.TEACHER_TRAINING: curves_in(loop.root / layout.TEACHER_TRAINING),
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


def idle_time_of(loop: Loop, domain: str) -> IdleTime | None:
    """How long a domain's annotators had no open question; None before anything was asked."""
    queries = []
    with session_scope(loop.ledger, read_only=True) as session:
        for round_index in rounds(session, domain):
            published = find_note(session, "published", domain, round_index)
            items = query_items(session, domain, round_index)
            if published is not None and items:
                answered = _first_answers(annotation_versions(session, domain, round_index))
                queries.append(PublishedQuery(at=published.at, size=len(items), answered=answered))
    return idle_time(queries)


def _first_answers(versions: Sequence[Annotation]) -> tuple[datetime, ...]:
    """When each item was first answered or refused."""
    found: dict[str, datetime] = {}
    for row in versions:
        if row.verdict in (Verdict.ACCEPTED, Verdict.SKIPPED):
            found[row.item_id] = min(row.created_at, found.get(row.item_id, row.created_at))
    return tuple(found.values())


def pool_pixels(loop: Loop, domain: str) -> int:
    """Of all images of a domain that people may be or were asked for."""
    total = 0
    for sample in loop.workspace.manifest():
        asked = sample.split == "pool" or sample.origin == "annotated"
        if sample.domain == domain and asked and sample.origin != "ground_truth":
            with Image.open(loop.root / sample.image) as image:  # the header alone is read
                total += image.width * image.height
    return total


def audit_of(loop: Loop, domain: str) -> AuditEstimate | None:
    """The audit estimate of a domain; None where nothing drawn at random was merged yet."""
    answers = [row for row in read_answers(loop.root / layout.ANSWERS) if row.domain == domain]
    if not any(row.source == "audit" for row in answers):
        return None
    return audit_estimate(answers, loop.read_params().num_classes)


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


def evaluation_in(path: Path) -> dict[str, Any]:
    """What `evaluate` measured; empty where the file is not there."""
    return parse_evaluation(read(path)) if path.exists() else {}


def curves_in(path: Path) -> dict[str, Any]:
    """The curves of a training; empty where the file is not there."""
    return read(path).json(dict[str, Any], lenient=True) if path.exists() else {}
