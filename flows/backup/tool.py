"""Label Studio in a backup: what its own API gives of this workspace's projects.

A database on PostgreSQL or another machine is not ours to copy, and our own holds passwords. An
export holds projects, tasks and answers as raw JSON; images are the workspace's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from db.repository import domains, ls_projects
from db.session import session_scope
from flows.annotators.label_studio_http import Http
from flows.annotators.label_studio_project import owner_in
from flows.loop import Loop
from flows.services import stack
from flows.workspace.identity import Identity, read_identity
from pipeline import layout
from pipeline.errors import ServiceError, SslLoopError
from pipeline.files import write_json

EXPORT = layout.PRIVATE / "label-studio-export"  # where a restored workspace has it


class Exported(NamedTuple):
    """What the annotation tool gave of a workspace's projects."""

    files: list[Path]
    """One per project."""
    why_not: str
    """Why some of them are not there; "" where all are."""


def export_tool(loop: Loop, folder: Path) -> Exported:
    """The workspace's projects in the annotation tool as files in `folder`; it may be down."""
    files: list[Path] = []
    why_not: list[str] = []
    try:
        identity = read_identity(loop.root)
        numbers = _projects(loop, identity) if identity else []
        if identity is None or not numbers:
            return Exported([], "")
        http = Http(*stack.annotation_tool(loop.root, loop.read_params()))
    except SslLoopError as error:
        return Exported([], str(error))
    for number in numbers:
        try:
            found = export_project(http, number, identity)
        except SslLoopError as error:
            why_not.append(str(error))
        else:
            write_json(folder / f"{number}.json", found)
            files.append(folder / f"{number}.json")
    return Exported(files, "; ".join(why_not))


def export_project(http: Http, number: int, identity: Identity) -> dict[str, Any]:
    """The project as the tool has it, with all tasks and answers; ServiceError for another's."""
    path = f"/api/projects/{number}/"
    project = http.get_or_none(path)
    owner = owner_in(str(project.get("description", ""))) if isinstance(project, dict) else None
    if owner is None or owner.workspace_id != identity.id:
        raise ServiceError(f"{http.url}{path}: gone, or not this workspace's any more")
    tasks = http.get(f"{path}export", exportType="JSON", download_all_tasks="true")
    return {"project": project, "tasks": tasks}


def _projects(loop: Loop, identity: Identity) -> list[int]:
    """All that ever were this workspace's and that its ledger names."""
    with session_scope(loop.ledger, read_only=True) as session:
        found = [ls_projects(session, identity.id, domain) for domain in domains(session)]
    return sorted({number for numbers in found for number in numbers})
