"""`ssl-loop ledger rebuild`: the ledger made again from git and DVC.

Everything that only people can give is in the data folders; the tags say the rest. What lies in the
inbox but is not merged yet is kept too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired

from sqlalchemy.orm import Session
from typing_extensions import TypedDict

from db import repository
from db.session import session_scope
from flows.answers.accept_commit import record_acceptances
from flows.ledger.records import (
    DAMAGED,
    read_records,
    record_ingest,
    record_round,
    record_turn,
    tool_facts_path,
)
from flows.loop import Loop
from flows.rounds.offered_teacher import record_forgetting
from flows.workspace.position import ingest_numbers, ingest_tag, labels_tag, round_tags
from pipeline.reading import read


class ToolFacts(TypedDict):
    """What a merge keeps beside annotations: arguments of the repository's functions."""

    projects: NotRequired[list[dict[str, Any]]]
    tasks: list[dict[str, Any]]
    events: list[dict[str, Any]]


def rebuild(loop: Loop) -> int:
    """Number of annotations put in; facts that are in the ledger already stay as they are."""
    workspace, domains = loop.workspace, list(loop.read_params().domains)
    tags = set(workspace.tags_merged())
    known = [domain for domain in domains if ingest_tag(domain) in tags]
    with session_scope(loop.ledger) as session:
        for domain in known:
            for number in ingest_numbers(domain, tags):
                record_ingest(session, workspace, domain, number)
        for domain, round_index, tag in round_tags(known, tags):
            record_round(session, workspace, domain, round_index)
            record_forgetting(session, workspace, domain, round_index, tag)
            if labels_tag(domain, round_index) in tags:
                record_turn(session, domain, round_index)
        for domain in known:
            _tool_facts(session, tool_facts_path(loop.root, domain))
        records = read_records(loop.root, known)
        for record in records:
            repository.record_annotation(session, **record.facts())
        record_acceptances(session, workspace)
    return len(records)


def _tool_facts(session: Session, path: Path) -> None:
    """Tasks as sent, and what was asked twice or closed early: written by every merge."""
    if not path.exists():
        return
    file = read(path, remedy=DAMAGED)
    facts = file.json(ToolFacts)
    try:
        for project in facts.get("projects", ()):  # absent in workspaces of older versions
            repository.record_ls_project(session, **project)
        for task in facts["tasks"]:
            repository.record_ls_task(session, **task)
        for event in facts["events"]:
            repository.record_event(session, **event)
    except TypeError as error:  # another key, or one too few
        raise file.wrong(str(error)) from None
