"""What the annotation tool holds of a domain: its tasks by item, the workspace's own alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from db.repository import query_items, rounds, sample_hashes
from db.session import session_scope
from flows.annotators.annotator import Project, ToolTask
from flows.ledger.domain_projects import sent_tasks
from flows.loop import Loop


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """The tasks of one project, told apart."""

    project: Project
    tasks: dict[str, list[ToolTask]] = field(default_factory=dict)
    """`item -> its tasks`, by ascending id: more than one where a request was repeated."""
    foreign: list[ToolTask] = field(default_factory=list)
    """Tasks that claim one of our items but are of another workspace, or of another image."""
    unlisted: list[int] = field(default_factory=list)
    """Ids of tasks that the tool itself cannot give."""

    @property
    def annotation_ids(self) -> set[int]:
        """Of all annotations of our tasks."""
        return {number for task in self.all for number in task.versions}

    @property
    def all(self) -> Iterable[ToolTask]:
        """Our tasks."""
        return (task for tasks in self.tasks.values() for task in tasks)


class Given(NamedTuple):
    """What the annotation tool gives of a domain."""

    held: Holdings | None
    """Its tasks and answers; None before it was asked."""
    unreadable: dict[int, str]
    """The tasks that it could not give, by their ids, with the reason."""


def holdings(loop: Loop, domain: str, project: Project) -> Holdings:
    """The tasks of the domain's project as they are now; asks the tool once."""
    listed = loop.annotator.tasks(project)
    with session_scope(loop.ledger, read_only=True) as session:
        samples = {
            item.item_id: item.sample_id
            for round_index in rounds(session, domain)
            for item in query_items(session, domain, round_index)
        }
        hashes = sample_hashes(session, domain)
    images = {item_id: hashes[sample_id] for item_id, sample_id in samples.items()}
    sent = sent_tasks(loop.ledger, domain)
    found = Holdings(project=project)
    for task in listed:
        if not task.data:
            found.unlisted.append(task.task_id)
        elif task.item_id in images:
            own = is_own(
                task, loop.identity.id, images, sent.get((project.project_id, task.task_id))
            )
            place = found.tasks.setdefault(task.item_id, []) if own else found.foreign
            place.append(task)
    return found


def is_own(
    task: ToolTask, workspace_id: str, images: Mapping[str, str], sent_item: str | None
) -> bool:
    """Whether a task asks for what its item asked for: this workspace's, with the item's image.

    `images` gives the hash of each item's image. A task without a workspace is of a version that
    gave none: `sent_item` is the item for which the ledger says that this very task was made.
    """
    if not task.workspace_id:
        return sent_item == task.item_id
    image = str(task.data.get("image_sha256") or "")
    return task.workspace_id == workspace_id and image == images.get(task.item_id)
