"""The report of a round: facts, pictures and links of the working copy as one page."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from db.repository import accepted_blind
from db.session import session_scope
from flows.domains.shift_on_arrival import images_of, kept_report
from flows.loop import Loop
from flows.rounds.encoder_start import weights_warnings
from flows.rounds.offered_teacher import judgement_here
from flows.rounds.round_facts import (
    audit_of,
    curves_in,
    evaluation_in,
    idle_time_of,
    round_facts,
)
from flows.rounds.round_plan import REMADE
from flows.services import stack
from flows.versions.pushes import last_failure, unpushed
from flows.watch.alarm import alarm_facts
from flows.workspace.position import Position
from pipeline import layout
from pipeline.campaign.spending import spending
from pipeline.campaign.stopping import Advice, parse_advice, why_finished
from pipeline.class_colours import class_colours
from pipeline.config.params import left_to_the_plan
from pipeline.reading import read
from pipeline.records.query import by_image, read_query
from pipeline.report.data import (
    ExampleFacts,
    LeftOutFacts,
    PlannedKnob,
    QueryItemFacts,
    Report,
    RoundFacts,
    ShiftFacts,
)

NUM_EXAMPLES = 4
PACKAGES = (
    "ssl-loop",
    "torch",
    "segmentation-models-pytorch",
    "prefect",
    "dvc",
    "label-studio-sdk",
)


def render_report(loop: Loop) -> Path:
    """Write report/index.html for what lies in the working copy; its path."""
    from pipeline.report import render  # matplotlib: only when a report is wanted

    here, params = loop.require_position(), loop.read_params()
    advice = _advice(loop)
    rounds = round_facts(loop)
    not_pushed = unpushed(loop)
    report = Report(
        workspace_name=loop.root.name,
        domain=here.domain,
        round_index=here.round_index,
        class_names=tuple(params.classes),
        class_colours=class_colours(params.num_classes),
        rounds=rounds,
        evaluation=evaluation_in(loop.root / layout.EVALUATION),
        previous_evaluation=_previous_evaluation(loop, here, rounds),
        training={
            "baseline": curves_in(loop.root / layout.BASELINE_TRAINING),
            "teacher": curves_in(loop.root / layout.TEACHER_TRAINING),
        },
        query=() if advice and advice.closes else _query(loop),
        pseudo_label_examples=_examples(loop, here),
        left_out=_left_out(loop, here),
        alarms=alarm_facts(loop),
        versions=_versions(loop, here),
        audit=audit_of(loop, here.domain),
        stopping=advice,
        forgetting=judgement_here(loop.workspace),
        confidence_threshold=params.method.confidence_threshold,
        links=stack.links(loop.root),
        shifts=_shifts(loop),
        not_pushed=tuple(not_pushed),
        push_failure=last_failure(loop, not_pushed),
        weights=tuple(weights_warnings(params)),
        plan=_plan(loop),
        accepted_blind=_accepted_blind(loop, here),
        idle=idle_time_of(loop, here.domain),
        why_finished=why_finished(advice, spending(loop.workspace.manifest(), params, here.domain)),
    )
    path = loop.root / layout.REPORT
    render(report, path)
    return path


def render_again(loop: Loop) -> None:
    """Render the report where there is one, for what came since."""
    if (loop.root / layout.REPORT).exists():
        render_report(loop)


def _previous_evaluation(
    loop: Loop, here: Position, rounds: tuple[RoundFacts, ...]
) -> dict[str, Any] | None:
    """Of the newest computed round but this one."""
    before = [row.tag for row in rounds if row.tag != here.tag]
    return loop.workspace.evaluation_at(before[-1]) if before else None


def _shifts(loop: Loop) -> tuple[ShiftFacts, ...]:
    """What was said of each domain when it arrived; each report's page is written beside."""
    found = []
    for domain in loop.read_params().domains:
        kept = kept_report(loop, domain)
        if kept is not None:
            from pipeline.shift import shift_page

            file = layout.REPORT.with_name(f"shift-{domain}.html")
            shift_page.render(kept, images_of(loop, domain), loop.root / file)
            found.append(
                ShiftFacts(domain=domain, in_words=tuple(kept["in_words"]), page=file.name)
            )
    return tuple(found)


def _advice(loop: Loop) -> Advice | None:
    path = loop.root / layout.STOPPING
    return parse_advice(read(path)) if path.exists() else None


class _Choice(TypedDict):
    knob: str
    value: Any
    reason: str
    yours: bool


class _Plan(TypedDict):
    choices: list[_Choice]


def _plan(loop: Loop) -> tuple[PlannedKnob, ...]:
    path = loop.root / layout.PLAN
    if not (path.exists() and left_to_the_plan(loop.root / layout.PARAMS)):
        return ()
    kept = read(path, remedy=REMADE).json(_Plan)
    return tuple(
        PlannedKnob(
            knob=choice["knob"],
            value=_as_in_yaml(choice["value"]),
            reason=choice["reason"],
            yours=choice["yours"],
        )
        for choice in kept["choices"]
    )


def _as_in_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _accepted_blind(loop: Loop, here: Position) -> int:
    with session_scope(loop.ledger, read_only=True) as session:
        return len(accepted_blind(session, here.domain))


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
