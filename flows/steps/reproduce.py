"""Reproduce: the stages of one round, then commit and tag `<domain>/r<k>`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from db.session import session_scope
from flows.domains.shift_on_arrival import adopt
from flows.ledger.records import record_round, record_turn
from flows.ledger.round_events import find_note, note
from flows.loop import Loop
from flows.rounds.offered_teacher import record_forgetting, write_forgetting
from flows.rounds.stopping_advice import write_advice
from flows.views.round_report import render_report
from flows.workspace.position import Position
from pipeline import layout
from pipeline.stages import STAGES

# Everything of a round that lives in git; data itself is committed by take_in and merge.
ROUND_PATHS = (
    layout.PARAMS,
    layout.DVC_YAML,
    Path("dvc.lock"),
    layout.QUERY,
    layout.METRICS,
    Path(".gitignore"),
    Path("models/.gitignore"),
    Path("predictions/.gitignore"),
    Path("predictions/embeddings/.gitignore"),
)


def reproduce_stage(loop: Loop, here: Position, stage: str) -> None:
    """Bring one stage up to date and note, once per round, that it completed."""
    loop.workspace.repro(stage, on_line=lambda line: loop.log(f"{stage}: {line}"))
    with session_scope(loop.ledger) as session:
        note(session, "stage_completed", here.domain, here.round_index, subject=stage)


def seal_round(loop: Loop, here: Position) -> None:
    """Advise, render the report, commit what the stages made, tag it, record its facts."""
    workspace = loop.workspace
    write_advice(loop, here)
    adopt(loop, here.domain)
    write_forgetting(loop, here)
    render_report(loop)
    workspace.commit(present(loop.root, ROUND_PATHS), f"Round {here.round_index} of {here.domain}")
    workspace.tag(here.tag, f"round {here.round_index} of {here.domain}: models and query")
    ensure_recorded(loop, here)


def ensure_recorded(loop: Loop, here: Position) -> None:
    """The facts of a computed round are in the ledger, also where the last tick was killed."""
    with session_scope(loop.ledger, read_only=True) as session:
        if find_note(session, "sealed", here.domain, here.round_index) is not None:
            return
    with session_scope(loop.ledger) as session:
        record_round(session, loop.workspace, here.domain, here.round_index)
        record_forgetting(session, loop.workspace, here.domain, here.round_index, here.tag)
        if here.round_index > 0:
            record_turn(session, here.domain, here.round_index - 1)


def stages() -> tuple[str, ...]:
    """Stage names in the order of one round."""
    return tuple(STAGES)


def present(root: Path, paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that exist."""
    return [path for path in paths if (root / path).exists()]
