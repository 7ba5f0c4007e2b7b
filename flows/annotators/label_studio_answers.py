"""Label Studio's JSON of tasks and annotations as values; ServiceError for another shape."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from flows.annotators.annotator import PulledAnnotation, ToolTask
from flows.annotators.label_studio_http import expect, expect_list, seconds
from pipeline.errors import ServiceError


def tool_task(row: dict[str, Any]) -> ToolTask:
    """A task of a list, with the versions of its annotations."""
    annotations = expect_list(row, "annotations", dict)
    return ToolTask(
        task_id=expect(row, "id", int),
        data=expect(row, "data", dict),
        versions={expect(one, "id", int): _moment(one, "updated_at") for one in annotations},
    )


def pulled_annotation(annotation: Any, task_id: int) -> PulledAnnotation:
    """An annotation of a task."""
    annotation_id = expect(annotation, "id", int)
    result = annotation.get("result") or []
    return PulledAnnotation(
        annotation_id=annotation_id,
        task_id=task_id,
        annotator=_email(annotation),
        lead_time_s=seconds(annotation.get("lead_time")),
        created_at=_moment(annotation, "created_at"),
        updated_at=_moment(annotation, "updated_at"),
        was_cancelled=bool(annotation.get("was_cancelled")),
        ground_truth=bool(annotation.get("ground_truth")),
        result=result,
        raw=annotation,
    )


def _moment(row: dict[str, Any], key: str) -> datetime:
    text = expect(row, key, str)
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ServiceError(f"Label Studio's answer: {key} is {text[:40]!a}, no moment") from None


def _email(annotation: dict[str, Any]) -> str:
    """Of "First Last name@example.com, 7"; the user's id when there is no e-mail in it."""
    found = re.search(r"(\S+@\S+), \d+$", str(annotation.get("created_username") or ""))
    return found[1] if found else str(annotation.get("completed_by"))
