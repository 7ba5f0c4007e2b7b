"""What an annotation tool must do for the loop, and the values it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import ServiceError
from pipeline.records.regions import Box

Region = dict[str, Any]
OnProgress = Callable[[int, int], None]  # items done, items in all


class ToolStateError(ServiceError):
    """What the loop put into the annotation tool is not there as it was left.

    Nothing is concluded from that: a person says what happened.
    """


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose a project is: a workspace's, by its id, for one of its domains."""

    workspace_id: str
    domain: str


@dataclass(frozen=True, kw_only=True)
class Project:
    """A domain's place in the tool."""

    project_id: int
    url: str  # for people to open
    title: str
    owner: Owner | None = None  # as the tool says; None where nothing is said


@dataclass(frozen=True, kw_only=True)
class PushItem:
    """One row of a query, ready to be sent."""

    item_id: str  # <domain>/<stem>/r<round>: the identity of the task within its workspace
    sample_id: str
    image: Path
    image_sha256: str
    workspace_id: str
    uncertainty: float  # [0, 1]; the highest is asked first
    reason: str  # in words, for the annotator
    # What is painted already: class indices at the image's size, 255 = nothing.
    pre_annotation_HW: npt.NDArray[np.uint8] | None
    regions: tuple[Box, ...] = ()  # what is asked for, in the image's pixels; () = all of it
    background: str | None = None  # the class of what people leave bare; None = unknown
    corrects: bool = False  # only what is wrong is asked for; what is left as it is says nothing
    as_sent: list[Region] | None = None  # the pre-annotation of a task put back, instead of a mask


@dataclass(frozen=True, kw_only=True)
class PushedTask:
    """A task as it exists in the tool, made now or found."""

    item_id: str
    task_id: int
    prediction_id: int | None
    result: list[Region]  # the pre-annotation exactly as sent; [] = none


@dataclass(frozen=True, kw_only=True)
class ToolTask:
    """A task as it is in the tool now, without masks: cheap to list.

    One that the tool itself cannot give has a number and nothing else.
    """

    task_id: int
    data: dict[str, Any]
    versions: dict[int, datetime] = field(default_factory=dict)  # annotation id -> `updated_at`

    @property
    def item_id(self) -> str:
        """The item it asks for; "" for a task that people made by hand."""
        return str(self.data.get("item_id") or "")

    @property
    def workspace_id(self) -> str:
        """Whose it is; "" for one by hand, or of a version that gave no ids."""
        return str(self.data.get("workspace") or "")


@dataclass(frozen=True, kw_only=True)
class PulledAnnotation:
    """One annotation as it is now; an edit gives the same id with another `updated_at`."""

    annotation_id: int
    task_id: int
    annotator: str  # e-mail
    lead_time_s: float | None
    created_at: datetime  # aware, UTC
    updated_at: datetime  # aware, UTC
    was_cancelled: bool  # skipped
    ground_truth: bool  # starred
    result: list[Region]
    raw: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """The annotations of some tasks; `unreadable`: tasks the tool itself cannot give, and why."""

    annotations: list[PulledAnnotation]
    unreadable: dict[int, str] = field(default_factory=dict)


class Annotator(Protocol):
    """An annotation tool; every method raises ServiceError with a remedy when it fails.

    Asked twice, nothing is made twice: what exists is looked up before anything is sent. Nothing
    that a person made is ever deleted.
    """

    def find_projects(self, owner: Owner) -> list[Project]:
        """All projects that say they are `owner`'s, oldest first."""

    def open_project(self, project_id: int, class_names: Sequence[str]) -> Project | None:
        """The project of this id; None when there is none.

        ServiceError when its interface has other classes, or none that can be read.
        """

    def create_project(
        self, owner: Owner, title: str, class_names: Sequence[str], *, brush_only: bool = False
    ) -> Project:
        """A new project that says whose it is; its title is for people alone.

        `brush_only`: with the interface of older versions, for their answers put back.
        """

    def claim_project(self, project: Project, owner: Owner) -> Project:
        """The project, which says from now on that it is `owner`'s."""

    def push(
        self,
        project: Project,
        items: Sequence[PushItem],
        *,
        model_version: str,
        on_progress: OnProgress,
    ) -> list[PushedTask]:
        """One task per item, found or made, in the order of `items`.

        DataError, before anything is sent, when an item cannot be.
        """

    def tasks(self, project: Project) -> list[ToolTask]:
        """Every task of the project, by ascending id; ServiceError if the tool counts others."""

    def pull(self, project: Project, task_ids: Sequence[int]) -> Pulled:
        """All annotations, skips too, of these tasks as they are now; oldest first."""

    def image(self, task: ToolTask) -> bytes:
        """The file that a task shows; b"" where it shows none that the tool keeps."""

    def annotate(self, task_id: int, answer: Mapping[str, Any]) -> PulledAnnotation:
        """Put an answer back that the tool lost: `result`, `was_cancelled`, `lead_time`,
        `ground_truth`."""

    def ask_two(self, task_ids: Sequence[int]) -> None:
        """Give these tasks to a second person too, once the first has answered."""

    def note(self, task: ToolTask, changes: Mapping[str, str]) -> None:
        """Change what a task shows people beside its image."""

    def ensure_webhook(self, project: Project, url: str, secret_header: Mapping[str, str]) -> None:
        """Let the tool call `url`, with that header, when an annotation changes."""

    def ensure_assist(self, project: Project, url: str | None, password: str) -> None:
        """Let people of this project click masks, made by the server at `url`; None takes it away.

        The order of tasks and what they show stays as it is.
        """
