"""What an annotation tool must do for the loop, and the values it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.regions import Box

Region = dict[str, Any]
OnProgress = Callable[[int, int], None]  # items done, items in all


@dataclass(frozen=True, kw_only=True)
class Project:
    """A domain's place in the tool."""

    project_id: int
    url: str  # for people to open
    title: str


@dataclass(frozen=True, kw_only=True)
class PushItem:
    """One row of a query, ready to be sent."""

    item_id: str  # <domain>/<stem>/r<round>: the identity of the task
    sample_id: str
    image: Path
    uncertainty: float  # [0, 1]; the highest is asked first
    reason: str  # in words, for the annotator
    pre_annotation_HW: npt.NDArray[np.uint8] | None  # class indices at the image's size, 255 = none
    regions: tuple[Box, ...] = ()  # what is asked for, in the image's pixels; () = all of it


@dataclass(frozen=True, kw_only=True)
class PushedTask:
    """A task as it exists in the tool, made now or found."""

    item_id: str
    task_id: int
    prediction_id: int | None
    result: list[Region]  # the pre-annotation exactly as sent; [] = none


@dataclass(frozen=True, kw_only=True)
class PulledAnnotation:
    """One annotation as it is now; an edit gives the same id with a later `updated_at`."""

    annotation_id: int
    task_id: int
    item_id: str  # "" for a task that people made by hand
    annotator: str  # e-mail
    lead_time_s: float | None
    created_at: datetime  # aware, UTC
    updated_at: datetime  # aware, UTC
    was_cancelled: bool  # skipped
    result: list[Region]
    raw: dict[str, Any]


class Annotator(Protocol):
    """An annotation tool; every method raises ServiceError with a remedy when it fails.

    Asked twice, nothing is made twice: what exists is looked up before anything is sent.
    """

    def ensure_project(self, title: str, class_names: Sequence[str]) -> Project:
        """The project of exactly that title, made when there is none.

        ServiceError when it exists with other classes, or twice.
        """

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

    def find_tasks(self, project: Project, item_ids: Sequence[str]) -> dict[str, int]:
        """Which of the items have a task now, and its id; ServiceError names duplicates."""

    def pull(self, project: Project, *, since: datetime | None) -> list[PulledAnnotation]:
        """All annotations, skips too, of tasks changed at `since` or later; oldest first.

        The same annotation may come again: identity is (annotation_id, updated_at).
        """

    def reopen(self, annotation_id: int) -> None:
        """Take an answer back so that its task is asked for again; gone already is fine."""

    def ensure_webhook(self, project: Project, url: str, secret_header: Mapping[str, str]) -> None:
        """Let the tool call `url`, with that header, when an annotation changes."""
