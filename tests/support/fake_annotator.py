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

from flows.annotators.annotator import (
    OnProgress,
    Owner,
    Project,
    Pulled,
    PulledAnnotation,
    PushedTask,
    PushItem,
    ToolTask,
)
from flows.annotators.masks import encode_result, labels_for
from pipeline.files import write_json

PERSON = "people@example.com"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeAnnotator:
    """The Annotator protocol plus what people do: `answer`, `skip`, `spoil`, `delete_task`, ..."""

    def __init__(self, path: Path, class_names: Sequence[str] = ()) -> None:
        self.path = path
        self.class_names = list(class_names)
        self.broken: set[int] = set()  # tasks that the tool cannot give

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"clock": 0, "tasks": {}, "annotations": {}, "projects": {}, "hooks": []}
        return json.loads(self.path.read_text())

    def _write(self, state: dict[str, Any]) -> None:
        write_json(self.path, state)

    # --- the protocol

    def find_projects(self, owner: Owner) -> list[Project]:
        found = [self._project(int(number)) for number in self._read()["projects"]]
        return [project for project in found if project.owner == owner]

    def open_project(self, project_id: int, class_names: Sequence[str]) -> Project | None:
        known = str(project_id) in self._read()["projects"]
        return self._project(project_id) if known else None

    def create_project(
        self, owner: Owner, title: str, class_names: Sequence[str], *, brush_only: bool = False
    ) -> Project:
        state = self._read()
        number = state["clock"] = state["clock"] + 1
        state["projects"][str(number)] = {
            "title": title,
            "classes": list(class_names),
            "owner": [owner.workspace_id, owner.domain],
            "brush_only": brush_only,
        }
        self._write(state)
        return self._project(number)

    def is_brush_only(self, project_id: int) -> bool:
        """Whether a project has the interface of older versions."""
        return bool(self._read()["projects"][str(project_id)]["brush_only"])

    def claim_project(self, project: Project, owner: Owner) -> Project:
        state = self._read()
        row = state["projects"][str(project.project_id)]
        row["owner"] = [owner.workspace_id, owner.domain]
        self._write(state)
        return self._project(project.project_id)

    def _project(self, number: int) -> Project:
        row = self._read()["projects"][str(number)]
        workspace_id, domain = row["owner"] or ("", "")
        return Project(
            project_id=number,
            url=f"http://x/{number}",
            title=row["title"],
            owner=Owner(workspace_id=workspace_id, domain=domain) if workspace_id else None,
        )

    def push(
        self,
        project: Project,
        items: Sequence[PushItem],
        *,
        model_version: str,
        on_progress: OnProgress,
    ) -> list[PushedTask]:
        classes = self._read()["projects"][str(project.project_id)]["classes"]
        pushed = []
        for done, item in enumerate(items, start=1):
            state = self._read()
            found = [
                task
                for task in state["tasks"].values()
                if task["data"].get("item_id") == item.item_id
                and task["data"].get("workspace") == item.workspace_id
                and task["project_id"] == project.project_id
                and not task["deleted"]
            ]
            if not found:
                task_id = len(state["tasks"]) + 1
                mask = item.pre_annotation_HW
                result = item.as_sent or []
                if mask is not None:
                    labels = labels_for(classes, item.background)
                    result = encode_result(mask, labels, item.item_id)
                task = {
                    "task_id": task_id,
                    "data": {
                        "item_id": item.item_id,
                        "sample_id": item.sample_id,
                        "workspace": item.workspace_id,
                        "image_sha256": item.image_sha256,
                        "reason": item.reason,
                        "corrections": item.corrects,
                        "image": str(item.image),
                    },
                    "result": result,
                    "model_version": model_version,
                    "deleted": False,
                    "project_id": project.project_id,
                }
                state["tasks"][str(task_id)] = task
                self._write(state)
                found = [task]
            pushed.append(
                PushedTask(
                    item_id=item.item_id,
                    task_id=found[0]["task_id"],
                    prediction_id=found[0]["task_id"],
                    result=found[0]["result"],
                )
            )
            on_progress(done, len(items))
        return pushed

    def tasks(self, project: Project) -> list[ToolTask]:
        state = self._read()
        return [
            ToolTask(
                task_id=task["task_id"],
                data=task["data"],
                versions={
                    row["id"]: _moment(row["updated"])
                    for row in state["annotations"].values()
                    if row["task_id"] == task["task_id"]
                },
            )
            for task in state["tasks"].values()
            if task["project_id"] == project.project_id and not task["deleted"]
        ]

    def pull(self, project: Project, task_ids: Sequence[int]) -> Pulled:
        rows = self._read()["annotations"].values()
        found = [
            _pulled(row)
            for row in rows
            if row["task_id"] in task_ids and row["task_id"] not in self.broken
        ]
        return Pulled(
            annotations=sorted(found, key=lambda a: (a.updated_at, a.annotation_id)),
            unreadable={number: "500" for number in task_ids if number in self.broken},
        )

    def image(self, task: ToolTask) -> bytes:
        shown = task.data.get("image")
        return Path(shown).read_bytes() if shown else b""

    def annotate(self, task_id: int, answer: Mapping[str, Any]) -> PulledAnnotation:
        number = self._add(
            task_id,
            list(answer["result"]),
            cancelled=bool(answer.get("was_cancelled")),
            starred=bool(answer.get("ground_truth")),
        )
        return _pulled(self._read()["annotations"][str(number)])

    def ask_two(self, task_ids: Sequence[int]) -> None:
        for task_id in task_ids:
            self.change_data(task_id, overlap="2")

    def note(self, task: ToolTask, changes: Mapping[str, str]) -> None:
        self.change_data(task.task_id, **changes)

    def ensure_webhook(self, project: Project, url: str, secret_header: Mapping[str, str]) -> None:
        state = self._read()
        state["hooks"] = [*state["hooks"], url]
        self._write(state)

    def ensure_assist(self, project: Project, url: str | None, password: str) -> None:
        state = self._read()
        state["assist"] = url
        self._write(state)

    # --- what people do

    def open_items(self) -> list[str]:
        """Items whose task has no annotation."""
        state = self._read()
        answered = {row["task_id"] for row in state["annotations"].values()}
        return [
            task["data"]["item_id"]
            for task in state["tasks"].values()
            if task["task_id"] not in answered and not task["deleted"]
        ]

    def all_tasks(self) -> list[dict[str, Any]]:
        """All tasks, deleted ones too."""
        return list(self._read()["tasks"].values())

    def task_id(self, item_id: str) -> int:
        """The newest task of an item."""
        rows = self._read()["tasks"].values()
        return [row["task_id"] for row in rows if row["data"].get("item_id") == item_id][-1]

    def annotation_ids(self) -> list[int]:
        """All annotations that are there."""
        return [row["id"] for row in self._read()["annotations"].values()]

    def answer(self, item_id: str, mask_HW: np.ndarray, person: str = PERSON) -> int:
        """Submit a fresh mask; returns the annotation's id."""
        result = encode_result(mask_HW, self.class_names, f"person/{item_id}")
        number = self._add(self.task_id(item_id), result)
        self._set(number, person=person)
        return number

    def star(self, annotation_id: int) -> None:
        """Set the star of an answer."""
        self.update(annotation_id, ground_truth=True)

    def _set(self, annotation_id: int, **values: Any) -> None:
        state = self._read()
        state["annotations"][str(annotation_id)] |= values
        self._write(state)

    def submit(self, item_id: str, result: list[Any]) -> int:
        """Submit entries as they are."""
        return self._add(self.task_id(item_id), result)

    def skip(self, item_id: str) -> int:
        """Press skip."""
        return self._add(self.task_id(item_id), [], cancelled=True)

    def spoil(self, item_id: str) -> int:
        """Submit something that cannot be decoded."""
        return self._add(self.task_id(item_id), self._spoilt())

    def edit(self, annotation_id: int, mask_HW: np.ndarray) -> None:
        """Change an annotation after it was submitted."""
        result = encode_result(mask_HW, self.class_names, f"edit/{annotation_id}")
        self.update(annotation_id, result=result)

    def spoil_again(self, annotation_id: int) -> None:
        """Update an annotation to something that cannot be decoded."""
        self.update(annotation_id, result=self._spoilt())

    def update(self, annotation_id: int, *, clock: int | None = None, **changes: Any) -> None:
        """Press Update: a later version; `clock` is what the tool's clock says then."""
        state = self._read()
        state["clock"] += 1
        row = state["annotations"][str(annotation_id)]
        row |= {"updated": state["clock"] if clock is None else clock, **changes}
        self._write(state)

    def delete_annotation(self, annotation_id: int) -> None:
        """Delete an answer in the tool."""
        state = self._read()
        state["annotations"].pop(str(annotation_id))
        self._write(state)

    def delete_task(self, item_id: str) -> None:
        """Delete a task in the tool, and its answers with it."""
        state = self._read()
        for task in state["tasks"].values():
            task["deleted"] |= task["data"].get("item_id") == item_id
        self._write(state)

    def import_task(self, project_id: int, data: Mapping[str, Any]) -> int:
        """Import a task by hand; its id."""
        state = self._read()
        task_id = len(state["tasks"]) + 1
        state["tasks"][str(task_id)] = {
            "task_id": task_id,
            "data": dict(data),
            "result": [],
            "model_version": "",
            "deleted": False,
            "project_id": project_id,
        }
        self._write(state)
        return task_id

    def answer_task(self, task_id: int, mask_HW: np.ndarray) -> int:
        """Submit a fresh mask to a task by its number."""
        return self._add(task_id, encode_result(mask_HW, self.class_names, f"task/{task_id}"))

    def change_data(self, task_id: int, **changes: Any) -> None:
        """Edit a task's data."""
        state = self._read()
        state["tasks"][str(task_id)]["data"] |= changes
        self._write(state)

    def change_project(self, project_id: int, **changes: Any) -> None:
        """Edit a project: `title`, or `owner` None for a description without the mark."""
        state = self._read()
        state["projects"][str(project_id)] |= changes
        self._write(state)

    def delete_project(self, project_id: int) -> None:
        """Delete a project with all tasks."""
        state = self._read()
        state["projects"].pop(str(project_id))
        for task in state["tasks"].values():
            task["deleted"] |= task["project_id"] == project_id
        self._write(state)

    def project_ids(self) -> list[int]:
        """All projects that are there."""
        return [int(number) for number in self._read()["projects"]]

    def _spoilt(self) -> list[Any]:
        region = encode_result(np.zeros((4, 4), np.uint8), self.class_names, "spoilt")[0]
        region["value"]["rle"] = [1, 2, 3]
        return [region]

    def _add(
        self, task_id: int, result: list[Any], *, cancelled: bool = False, starred: bool = False
    ) -> int:
        state = self._read()
        state["clock"] += 1
        annotation_id = 1000 + state["clock"]
        state["annotations"][str(annotation_id)] = {
            "id": annotation_id,
            "task_id": task_id,
            "result": result,
            "cancelled": cancelled,
            "ground_truth": starred,
            "created": state["clock"],
            "updated": state["clock"],
        }
        self._write(state)
        return annotation_id


def _moment(clock: int) -> datetime:
    return EPOCH + timedelta(minutes=5 * clock)


def _pulled(row: dict[str, Any]) -> PulledAnnotation:
    return PulledAnnotation(
        annotation_id=row["id"],
        task_id=row["task_id"],
        annotator=row.get("person", PERSON),
        lead_time_s=30.0,
        created_at=_moment(row["created"]),
        updated_at=_moment(row["updated"]),
        was_cancelled=row["cancelled"],
        ground_truth=row["ground_truth"],
        result=row["result"],
        raw=row,
    )
