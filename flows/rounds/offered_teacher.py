"""What the rounds cost older domains, which teacher is offered, and a person's word against that.

Read from tags alone: metrics/forgetting.json at `<domain>/r<k>` says what a round cost, and a tag
`<domain>/r<k>-accepted` on the same commit that a person takes it.
"""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session
from typing_extensions import TypedDict

from db.session import session_scope
from flows.ledger.round_events import note
from flows.loop import Loop
from flows.workspace.position import Position, RoundTag, accepted_tag, round_tags
from flows.workspace.workspace import Workspace, is_workspace
from pipeline import layout
from pipeline.campaign.forgetting import (
    Forgetting,
    Judgement,
    describe,
    judge,
    parse_forgetting,
    row_of,
)
from pipeline.errors import WorkspaceError
from pipeline.files import write_json
from pipeline.metrics.per_image import drop_interval, read_areas
from pipeline.reading import read
from pipeline.records.evaluation import parse_evaluation


class _Cost(TypedDict):
    """What is told of metrics/forgetting.json in the ledger."""

    beyond: list[str]
    forgetting: dict[str, float | None]
    tolerance: float


_BY = "accepted by "


def write_forgetting(loop: Loop, here: Position) -> Judgement:
    """metrics/forgetting.json of the round in the working copy; what is beyond goes to the log."""
    older = dict.fromkeys(domain for domain in loop.read_params().domains if domain != here.domain)
    last = {domain: tag for domain, _, tag in _rounds(loop.workspace)}
    rows = [
        row_of(domain, tag, loop.workspace.evaluation_at(tag))
        for domain in older
        if (tag := last.get(domain))
    ]
    now = parse_evaluation(read(loop.root / layout.EVALUATION))
    found = Forgetting(rows=(*rows, row_of(here.domain, here.tag, now)))
    found = replace(found, intervals=_intervals(loop, found))
    judged = _judged(loop.workspace, found)
    write_json(loop.root / layout.FORGETTING, judged.to_dict())
    if judged.beyond:
        for sentence in describe(judged):
            loop.log(sentence)
    return judged


def _intervals(loop: Loop, found: Forgetting) -> dict[str, tuple[float, float]]:
    """Of the drops of older domains, as far as both rounds kept their val images apart."""
    now, intervals = read_areas(loop.root / layout.VAL_AREAS), {}
    for kept in found.kept():
        if not loop.workspace.exists_at(kept.best_tag, layout.VAL_AREAS):
            continue
        file = loop.workspace.file_at(kept.best_tag, layout.VAL_AREAS)
        then = read_areas(file.raw, file.source)
        if kept.domain in then and kept.domain in now:
            ends = drop_interval(then[kept.domain], now[kept.domain])
            if ends:
                intervals[kept.domain] = ends
    return intervals


def forgetting_at(workspace: Workspace, tag: str) -> Forgetting | None:
    """What a computed round cost; None for a round that did not say it yet."""
    if not workspace.exists_at(tag, layout.FORGETTING):
        return None
    return parse_forgetting(workspace.file_at(tag, layout.FORGETTING))


def judgement_at(workspace: Workspace, tag: str) -> Judgement | None:
    """The same held against params.yaml as it is now, and against what people accepted."""
    found = forgetting_at(workspace, tag)
    return None if found is None else _judged(workspace, found)


def judgement_here(workspace: Workspace) -> Judgement | None:
    """As `judgement_at`, of what lies in the working copy."""
    path = workspace.root / layout.FORGETTING
    if not path.exists():
        return None
    return _judged(workspace, parse_forgetting(read(path)))


def offered_tag(workspace: Workspace) -> str | None:
    """The newest computed round whose teacher is not refused: whose models people are to use."""
    for _, _, tag in reversed(_rounds(workspace)):
        judged = judgement_at(workspace, tag)
        if judged is None or not judged.refused:
            return tag
    return None


def require_offered(model_dir: Path) -> None:
    """WorkspaceError where the folder holds what the newest round trained, and that is refused."""
    root = model_dir.resolve().parents[1]
    if not is_workspace(root) or model_dir.resolve() != root / layout.TEACHER:
        return
    workspace = Workspace(root)
    rounds, offered = _rounds(workspace), offered_tag(workspace)
    if rounds and offered != rounds[-1].tag:
        newest = rounds[-1].tag
        raise WorkspaceError(
            f"{model_dir}: the teacher of {newest} is refused for what it costs older domains. "
            f"`git checkout {offered} && dvc checkout` brings the one that is offered; "
            f"`ssl-loop round accept {newest}` takes this one"
        )


def accept_round(loop: Loop, tag: str | None = None) -> str:
    """A person takes what a round costs; the tag says so. WorkspaceError: nothing to accept."""
    rounds = {found.tag: found for found in _rounds(loop.workspace)}
    if not rounds or (tag is not None and tag not in rounds):
        raise WorkspaceError(
            f"{tag or 'no round'}: not a computed round; known: {', '.join(rounds) or 'none'}"
        )
    domain, round_index, tag = rounds[tag or list(rounds)[-1]]
    again = accepted_tag(tag) in loop.workspace.tags_merged()
    if not again:
        _require_beyond(loop, tag)
        with loop.workspace.lock():
            loop.workspace.tag(accepted_tag(tag), f"{_BY}{getpass.getuser()}", at=tag)
    with session_scope(loop.ledger) as session:
        record_forgetting(session, loop.workspace, domain, round_index, tag)
    return f"{tag} is accepted with what it costs older domains{' (it was before)' * again}"


def _require_beyond(loop: Loop, tag: str) -> None:
    judged = judgement_at(loop.workspace, tag)
    if judged is None or not judged.beyond:
        raise WorkspaceError(
            f"{tag} costs no older domain more than loop.forgetting_tolerance "
            f"{loop.read_params().loop.forgetting_tolerance:g}: there is nothing to accept"
        )


def record_forgetting(
    session: Session, workspace: Workspace, domain: str, round_index: int, tag: str
) -> None:
    """Audit events of a round that cost too much, and of its acceptance, from its tags."""
    if not workspace.exists_at(tag, layout.FORGETTING):
        return
    plain = workspace.file_at(tag, layout.FORGETTING).json(_Cost)
    if plain["beyond"]:
        drops = {name: plain["forgetting"][name] for name in plain["beyond"]}
        tolerance = plain["tolerance"]
        note(session, "forgotten", domain, round_index, drops=drops, tolerance=tolerance)
    if accepted_tag(tag) in workspace.tags_merged():
        who = workspace.tag_message(accepted_tag(tag)).removeprefix(_BY)
        note(session, "forgetting_accepted", domain, round_index, who=who)


def _rounds(workspace: Workspace) -> list[RoundTag]:
    return round_tags(workspace.params().domains, workspace.tags_merged())


def _judged(workspace: Workspace, found: Forgetting) -> Judgement:
    params, tags = workspace.params().loop, set(workspace.tags_merged())
    taken = [tag for _, _, tag in _rounds(workspace) if accepted_tag(tag) in tags]
    accepted = [forgetting_at(workspace, tag) for tag in taken]
    return judge(
        found,
        params.forgetting_tolerance,
        accepted=[each for each in accepted if each is not None],
        refuse=params.forgetting == "refuse",
    )
