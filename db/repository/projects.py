"""Which project of the annotation tool asks for a domain."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.repository.insert_once import add_once
from db.tables import LsProject


def ls_projects(session: Session, workspace_id: str, domain: str) -> list[int]:
    """Project ids in the order in which they were taken; the last one counts."""
    statement = select(LsProject.project_id).filter_by(workspace_id=workspace_id, domain=domain)
    return list(session.scalars(statement.order_by(LsProject.number)))


def record_ls_project(
    session: Session,
    *,
    workspace_id: str,
    domain: str,
    project_id: int,
    number: int | None = None,
) -> bool:
    """Whether it is new: from now on this project counts.

    Without `number` it is the next one, unless it counts already; with it, a fact told again.
    """
    known = ls_projects(session, workspace_id, domain)
    if number is None:
        if known and known[-1] == project_id:
            return False
        number = len(known)
    key = {"workspace_id": workspace_id, "domain": domain, "number": number}
    return add_once(session, LsProject, key, {"project_id": project_id}).is_new
