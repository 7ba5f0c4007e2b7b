"""What the Prefect run page shows of a round: a convenience view; the truth lies in files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.runtime import flow_run

from flows.loop import Loop
from flows.rounds.offered_teacher import judgement_at
from flows.workspace.position import Position, position, round_tags
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.campaign.forgetting import describe
from pipeline.errors import SslLoopError
from pipeline.records.query import QueryImage
from pipeline.records.regions import framed

THUMBNAIL_PX = 160


def run_name() -> str:
    """The round that a run of the flow finds when it begins, such as `day/r1`; `tick` before the
    first, and where the workspace cannot be read: the tick itself says why."""
    with suppress(SslLoopError, OSError):
        workspace = Workspace(Path(flow_run.parameters.get("workspace", ".")))
        here = position(workspace.params().domain, workspace.tags_merged())
        if here is not None:
            return here.tag
    return "tick"


def show_rounds(loop: Loop, here: Position) -> None:
    """The table of all rounds, and where the report lies."""
    tags = round_tags(loop.read_params().domains, loop.workspace.tags_merged())
    rows = [_round_row(loop, domain, index, tag) for domain, index, tag in tags]
    create_table_artifact(table=rows, key="rounds", description=f"Rounds up to {here.tag}")
    create_link_artifact(
        link=(loop.root / layout.REPORT).as_uri(),
        link_text="report/index.html of this workspace",
        key="report",
        description="Opens on the machine that runs the loop.",
    )


def show_forgetting(loop: Loop, here: Position) -> None:
    """What the round cost older domains, as soon as there is one."""
    judged = judgement_at(loop.workspace, here.tag)
    if judged is None or not judged.found.older:
        return
    domains = judged.found.domains
    lines = [
        f"# Are the older domains kept? {here.tag}",
        "",
        *(f"- {sentence}" for sentence in describe(judged)),
        "",
        f"| mIoU after | {' | '.join(f'on {domain}' for domain in domains)} |",
        f"|---|{'---:|' * len(domains)}",
    ]
    for row in judged.found.rows:
        cells = [_number(row.miou[domain]) if domain in row.miou else "" for domain in domains]
        lines.append(f"| {row.tag} | {' | '.join(cells)} |")
    flagged = f": {' and '.join(judged.beyond)} fell" if judged.beyond else ""
    create_markdown_artifact(
        markdown="\n".join(lines), key="forgetting", description=f"{here.tag}{flagged}"
    )


def _round_row(loop: Loop, domain: str, round_index: int, tag: str) -> dict[str, Any]:
    evaluation = loop.workspace.evaluation_at(tag)
    row: dict[str, Any] = {
        "domain": domain,
        "round": round_index,
        "labelled": evaluation["labelled"],
    }
    for kind in ("baseline", "teacher"):
        miou = evaluation[kind].get(domain, {}).get("val", {}).get("miou")
        row[f"mIoU {kind}"] = _number(miou)
    if evaluation.get("transductive"):
        row["mIoU teacher"] += " (transductive)"
    return row


def _number(miou: float | None) -> str:
    return "not yet measurable" if miou is None else f"{miou:.3f}"


def show_query(loop: Loop, here: Position, query: Iterable[QueryImage]) -> None:
    """The round's query with thumbnails, and the way to its project."""
    paths = {sample.sample_id: sample.image for sample in loop.workspace.manifest()}
    lines = [
        f"# Query of round {here.round_index} of {here.domain}",
        "",
        "| rank | image | sample | score | why |",
        "|---:|---|---|---:|---|",
        *(_query_line(loop, image, paths[image.sample_id]) for image in query),
    ]
    create_markdown_artifact(
        markdown="\n".join(lines), key="query", description=f"What {here.tag} asks people for"
    )
    create_link_artifact(
        link=loop.project(here.domain).url, link_text="Annotate in Label Studio", key="annotate"
    )


def _query_line(loop: Loop, asked: QueryImage, image: str) -> str:
    with Image.open(loop.root / image) as opened:
        picture = opened.convert("RGB")
        if asked.boxes:
            picture = Image.fromarray(framed(np.asarray(picture), asked.boxes))
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=70)
    data = base64.b64encode(buffer.getvalue()).decode()
    reason = asked.reason.replace("|", "\\|")
    return (
        f"| {asked.rank} | ![{asked.sample_id}](data:image/jpeg;base64,{data}) "
        f"| {asked.sample_id} | {asked.score:.3f} | {reason} |"
    )
