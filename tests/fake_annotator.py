"""An annotation tool in one JSON file, for unit tests: outlives a killed process as a server would.

Answers come from the test itself; nothing is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from flows.annotators.masks import encode_result
from flows.annotators.types import OnProgress, Project, PulledAnnotation, PushedTask, PushItem
from pipeline.files import write_json

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeAnnotator:
    """The Annotator protocol plus what people do: `answer`, `skip`, `spoil`, `delete_task`."""

    def __init__(self, path: Path, class_names: Sequence[str] = ()) -> None:
        self.path = path
        self.class_names = list(class_names)

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"clock": 0, "tasks": {}, "annotations": {}, "classes": {}, "hooks": []}
        return json.loads(self.path.read_text())

    def _write(self, state: dict[str, Any]) -> None:
        write_json(self.path, state)

    # --- the protocol

    def ensure_project(self, title: str, class_names: Sequence[str]) -> Project:
        state = self._read()
        state["classes"].setdefault(title, list(class_names))
        self._write(state)
        return Project(
            project_id=list(state["classes"]).index(title) + 1, url="http://x", title=title
        )

    def push(
        self,
        project: Project,
        items: Sequence[PushItem],
        *,
        model_version: str,
        on_progress: OnProgress,
    ) -> list[PushedTask]:
        classes = self._read()["classes"][project.title]
        pushed = []
        for done, item in enumerate(items, start=1):
            state = self._read()
            found = [t for t in state["tasks"].values() if t["item_id"] == item.item_id]
            if not found:
                task_id = len(state["tasks"]) + 1
                mask = item.pre_annotation_HW
                result = [] if mask is None else encode_result(mask, classes, item.item_id)
                task = {
                    "item_id": item.item_id,
                    "task_id": task_id,
                    "prediction_id": task_id,
                    "result": result,
                    "model_version": model_version,
                    "deleted": False,
                    "project_id": project.project_id,
                }
                state["tasks"][str(task_id)] = task
                self._write(state)
                found = [task]
            (task,) = found
            pushed.append(
                PushedTask(
                    item_id=task["item_id"],
                    task_id=task["task_id"],
                    prediction_id=task["prediction_id"],
                    result=task["result"],
                )
            )
            on_progress(done, len(items))
        return pushed

    def find_tasks(self, project: Project, item_ids: Sequence[str]) -> dict[str, int]:
        return {
            task["item_id"]: task["task_id"]
            for task in self._read()["tasks"].values()
            if task["item_id"] in item_ids and not task["deleted"]
        }

    def pull(self, project: Project, *, since: datetime | None) -> list[PulledAnnotation]:
        state = self._read()
        found = []
        for row in state["annotations"].values():
            task = state["tasks"][str(row["task_id"])]
            updated = EPOCH + timedelta(seconds=row["updated"])
            if task["deleted"] or task["project_id"] != project.project_id:
                continue
            if since is not None and updated < since:
                continue
            found.append(
                PulledAnnotation(
                    annotation_id=row["id"],
                    task_id=row["task_id"],
                    item_id=task["item_id"],
                    annotator="people@example.com",
                    lead_time_s=30.0,
                    created_at=EPOCH,
                    updated_at=updated,
                    was_cancelled=row["cancelled"],
                    result=row["result"],
                    raw=row,
                )
            )
        return sorted(found, key=lambda a: a.updated_at)

    def reopen(self, annotation_id: int) -> None:
        state = self._read()
        state["annotations"].pop(str(annotation_id), None)
        self._write(state)

    def ensure_webhook(self, project: Project, url: str, secret_header: Mapping[str, str]) -> None:
        state = self._read()
        state["hooks"] = [*state["hooks"], url]
        self._write(state)

    # --- what people do

    def open_items(self) -> list[str]:
        """Items whose task has no annotation."""
        state = self._read()
        answered = {row["task_id"] for row in state["annotations"].values()}
        return [
            task["item_id"]
            for task in state["tasks"].values()
            if task["task_id"] not in answered and not task["deleted"]
        ]

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, deleted ones too."""
        return list(self._read()["tasks"].values())

    def answer(self, item_id: str, mask_HW: np.ndarray) -> int:
        """Submit a fresh mask; returns the annotation's id."""
        classes = next(iter(self._read()["classes"].values()))
        return self._annotate(item_id, encode_result(mask_HW, classes, f"person/{item_id}"))

    def submit(self, item_id: str, result: list[Any]) -> int:
        """Submit entries as they are."""
        return self._annotate(item_id, result)

    def skip(self, item_id: str) -> int:
        """Press skip."""
        return self._annotate(item_id, [], cancelled=True)

    def spoil(self, item_id: str) -> int:
        """Submit something that cannot be decoded."""
        classes = next(iter(self._read()["classes"].values()))
        region = encode_result(np.zeros((4, 4), np.uint8), classes, "spoilt")[0]
        region["value"]["rle"] = [1, 2, 3]
        return self._annotate(item_id, [region])

    def edit(self, annotation_id: int, mask_HW: np.ndarray) -> None:
        """Change an annotation after it was submitted."""
        state = self._read()
        classes = next(iter(state["classes"].values()))
        row = state["annotations"][str(annotation_id)]
        state["clock"] += 1
        row["result"] = encode_result(mask_HW, classes, f"edit/{annotation_id}")
        row["updated"] = state["clock"]
        self._write(state)

    def delete_task(self, item_id: str) -> None:
        """Delete a task in the tool."""
        state = self._read()
        for task in state["tasks"].values():
            task["deleted"] |= task["item_id"] == item_id
        self._write(state)

    def _annotate(self, item_id: str, result: list[Any], *, cancelled: bool = False) -> int:
        state = self._read()
        (task,) = [t for t in state["tasks"].values() if t["item_id"] == item_id]
        state["clock"] += 1
        annotation_id = 1000 + state["clock"]
        state["annotations"][str(annotation_id)] = {
            "id": annotation_id,
            "task_id": task["task_id"],
            "result": result,
            "cancelled": cancelled,
            "updated": state["clock"],
        }
        self._write(state)
        return annotation_id
