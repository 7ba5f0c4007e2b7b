"""Which project of the annotation tool asks for a domain: by its number in the ledger, and by what
it says about itself, never by its title."""

from __future__ import annotations

from collections.abc import Sequence

from db.repository import domains, ls_projects, ls_tasks, record_ls_project, rounds
from db.session import Ledger, open_ledger, session_scope
from flows.annotators.annotator import Annotator, Owner, Project, ToolStateError

_REMEDY = (
    "`ssl-loop labelstudio restore` puts tasks and answers back from the ledger, "
    "`ssl-loop labelstudio adopt --project NUMBER` names the project that has them now"
)


def find_project(
    annotator: Annotator,
    ledger: Ledger,
    owner: Owner,
    class_names: Sequence[str],
    *,
    restored: bool,
) -> Project | None:
    """The owner's project; None where it never had one. Nothing is made.

    A project that the ledger knows must be there and must not say that it is another's. Without a
    number in the ledger the project is the one that says it is `owner`'s (the ledger was made
    again, or a tick was killed between making and recording it), else that of the tasks in a
    ledger of an older version; not of a `restored` workspace, whose ledger has its origin's tasks.
    ToolStateError where none of that is so.
    """
    with session_scope(ledger, read_only=True) as session:
        known = ls_projects(session, owner.workspace_id, owner.domain)
    if known:
        return _checked(annotator, ledger, owner, class_names, known[-1])
    if found := annotator.find_projects(owner):
        if len(found) > 1:
            listed = ", ".join(f"{one.project_id} ({one.title})" for one in found)
            raise ToolStateError(
                f"several projects say that they are domain {owner.domain}'s of this workspace: "
                f"{listed}; name the one that counts: "
                "`ssl-loop labelstudio adopt --project NUMBER`"
            )
        project = _checked(annotator, ledger, owner, class_names, found[0].project_id)
    else:
        old = None if restored else _of_older_tasks(ledger, owner.domain)
        if old is None:
            return None
        project = _checked(annotator, ledger, owner, class_names, old)
        project = annotator.claim_project(project, owner)
    remember_project(ledger, owner, project)
    return project


def own_projects(ledger_target: str, workspace_id: str) -> list[int]:
    """The projects that count, of all domains in order of arrival."""
    ledger = open_ledger(ledger_target)
    try:
        with session_scope(ledger, read_only=True) as session:
            found = [ls_projects(session, workspace_id, domain) for domain in domains(session)]
    finally:
        ledger.close()
    return [numbers[-1] for numbers in found if numbers]


def remember_project(ledger: Ledger, owner: Owner, project: Project) -> None:
    """From now on this project is the owner's."""
    with session_scope(ledger) as session:
        record_ls_project(
            session,
            workspace_id=owner.workspace_id,
            domain=owner.domain,
            project_id=project.project_id,
        )


def sent_tasks(ledger: Ledger, domain: str) -> dict[tuple[int, int], str]:
    """`(project id, task id) -> item` of the tasks in the ledger, each item's newest: how tasks of
    older versions, which carry no workspace, are known."""
    with session_scope(ledger, read_only=True) as session:
        return {
            (task.project_id, task.task_id): item_id
            for round_index in rounds(session, domain)
            for item_id, task in ls_tasks(session, domain, round_index).items()
        }


def _of_older_tasks(ledger: Ledger, domain: str) -> int | None:
    """The project in which an older version asked last."""
    return max((project_id for project_id, _ in sent_tasks(ledger, domain)), default=None)


def _checked(
    annotator: Annotator, ledger: Ledger, owner: Owner, class_names: Sequence[str], project_id: int
) -> Project:
    project = annotator.open_project(project_id, class_names)
    if project is None:
        raise ToolStateError(
            f"the annotation tool has no project {project_id} any more, which asked for domain "
            f"{owner.domain}; nothing is concluded from that and nothing is lost: {_REMEDY}"
        )
    if project.owner == owner:
        return project
    if project.owner is not None:
        raise ToolStateError(
            f"{project.url} (title {project.title!r}) says that it is domain "
            f"{project.owner.domain}'s of workspace {project.owner.workspace_id}, not domain "
            f"{owner.domain}'s of this one ({owner.workspace_id}); its tasks are left alone: "
            f"{_REMEDY}"
        )
    sent = sent_tasks(ledger, owner.domain)
    if any(
        task.workspace_id == owner.workspace_id
        or sent.get((project_id, task.task_id)) == task.item_id != ""
        for task in annotator.tasks(project)
    ):
        return project  # its description was edited, or it is of an older version
    raise ToolStateError(
        f"{project.url} (title {project.title!r}) has the number under which domain "
        f"{owner.domain} was asked, but none of its tasks: the tool may have been set up anew, or "
        f"annotation.url names another one: {_REMEDY}"
    )
