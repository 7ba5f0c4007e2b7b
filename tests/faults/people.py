"""People who answer through the tool's own interface, and the harness's book of what they did.

A person paints what they see: the mask follows from the pixels of the image that the tool shows,
so that a mask at another image is seen as such. The book is the harness's own: nothing in it comes
from the loop.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.faults.tool import Tool
from tests.flows.conftest import CLASSES

Mask = npt.NDArray[np.uint8]
Result = list[dict[str, Any]]
_moments = itertools.count(1)
_regions = itertools.count(1)


def pixels(image: Path | bytes) -> str:
    """What the image shows, whatever its file is called."""
    with Image.open(image if isinstance(image, Path) else io.BytesIO(image)) as opened:
        return hashlib.sha256(np.asarray(opened.convert("RGB")).tobytes()).hexdigest()


def truth(seen: str, variant: int, size: tuple[int, int] = (24, 32)) -> Mask:
    """The mask of that image and of no other; another one for every variant."""
    rng = np.random.default_rng([int(seen[:15], 16), variant])
    return rng.integers(0, len(CLASSES), size, dtype=np.uint8)


def painted(mask_HW: Mask) -> Result:
    """As the tool's page sends it: a brush per class, by the tool's own encoder."""
    from label_studio_sdk.converter.brush import mask2rle

    height, width = mask_HW.shape
    return [
        {
            "id": f"person{next(_regions)}",
            "type": "labels",
            "from_name": "label",
            "to_name": "image",
            "origin": "manual",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": mask2rle((mask_HW == index).astype(np.uint8) * 255),
                "labels": [name],
            },
        }
        for index, name in enumerate(CLASSES)
        if (mask_HW == index).any()
    ]


@dataclass
class Answer:
    """One annotation in the tool as its author last left it."""

    annotation_id: int
    task_id: int
    project_id: int
    seen: str  # the image that was shown
    variant: int
    moment: int
    skipped: bool = False
    readable: bool = True
    starred: bool = False
    withdrawn: bool = False
    lost_with_the_tool: bool = False  # in no backup: nobody can collect it, if nobody had before

    @property
    def mask(self) -> Mask:
        return truth(self.seen, self.variant)


@dataclass
class Task:
    """A task as the tool shows it."""

    task_id: int
    project_id: int
    seen: str
    prediction: dict[str, Any] | None
    answers: int


@dataclass
class People:
    """Everybody who works in the tool, in projects that were made since they came."""

    tool: Tool
    book: list[Answer] = field(default_factory=list)
    ours: Callable[[str], bool] = lambda seen: True
    before: set[int] = field(default_factory=set)
    by_hand: dict[str, int] = field(default_factory=dict)
    """Image -> what was painted into the data themselves, without the tool."""

    def __post_init__(self) -> None:
        self.before = self.before or set(self.tool.projects())

    def projects(self) -> list[int]:
        return sorted(set(self.tool.projects()) - self.before)

    def tasks(self) -> list[Task]:
        """All tasks with an image that these people know, oldest first."""
        found = []
        for project_id in self.projects():
            listed = self.tool.get("/api/tasks", project=project_id, fields="all", page_size=500)
            for task in listed["tasks"]:
                image = self.tool.client.get(task["data"]["image"])
                if not image.is_success or not self.ours(pixels(image.content)):
                    continue
                found.append(
                    Task(
                        task_id=task["id"],
                        project_id=project_id,
                        seen=pixels(image.content),
                        prediction=next(iter(task["predictions"]), None),
                        answers=len(task["annotations"]),
                    )
                )
        return found

    def open_tasks(self) -> list[Task]:
        """What nobody answered."""
        return [task for task in self.tasks() if not task.answers]

    # --- what people do

    def answer(
        self,
        task: Task,
        variant: int = 0,
        *,
        result: Result | None = None,
        readable: bool = True,
        **more: Any,
    ) -> Answer:
        """Submit; `result` instead of what is to be seen, `more` into the request's body."""
        mask_HW = truth(task.seen, variant)
        body = {"result": painted(mask_HW) if result is None else result, "lead_time": 7.5} | more
        made = self.tool.post(f"/api/tasks/{task.task_id}/annotations/", body)
        answer = Answer(
            annotation_id=made["id"],
            task_id=task.task_id,
            project_id=task.project_id,
            seen=task.seen,
            variant=variant,
            moment=next(_moments),
            readable=readable,
            skipped=bool(more.get("was_cancelled")),
        )
        self.book.append(answer)
        return answer

    def answer_all(self, tasks: Iterable[Task] | None = None, variant: int = 0) -> list[Answer]:
        return [self.answer(t, variant) for t in (self.open_tasks() if tasks is None else tasks)]

    def skip(self, task: Task) -> Answer:
        return self.answer(task, result=[], was_cancelled=True)

    def edit(
        self, answer: Answer, variant: int, *, result: Result | None = None, readable: bool = True
    ) -> None:
        """Open it again, paint something else, press Update."""
        answer.variant, answer.readable, answer.skipped = variant, readable, False
        answer.moment = next(_moments)
        body = {"result": painted(answer.mask) if result is None else result}
        self.tool.patch(
            f"/api/annotations/{answer.annotation_id}/", body | {"was_cancelled": False}
        )

    def mend(self, answer: Answer, variant: int) -> None:
        """Paint an unreadable answer properly: in place, or anew where it was taken away."""
        if self.tool.exists(f"/api/annotations/{answer.annotation_id}/"):
            self.edit(answer, variant)
        else:
            self.answer(self.task_of(answer), variant)

    def task_of(self, answer: Answer) -> Task:
        return Task(answer.task_id, answer.project_id, answer.seen, None, 0)

    def touch(self, answer: Answer) -> None:
        """Give it a new time in the tool, as any change would."""
        self.update_unchanged(answer)

    def update_unchanged(self, answer: Answer) -> None:
        """Open it again and press Update."""
        result = self.tool.get(f"/api/annotations/{answer.annotation_id}/")["result"]
        self.tool.patch(f"/api/annotations/{answer.annotation_id}/", {"result": result})

    def withdraw(self, answer: Answer) -> None:
        answer.withdrawn = True
        self.tool.delete(f"/api/annotations/{answer.annotation_id}/")

    def star(self, answer: Answer) -> None:
        answer.starred = True
        self.tool.patch(f"/api/annotations/{answer.annotation_id}/", {"ground_truth": True})

    def standing(self) -> list[Answer]:
        """What was not withdrawn, oldest first."""
        return sorted((a for a in self.book if not a.withdrawn), key=lambda a: a.moment)

    def wanted(self) -> dict[str, list[Answer]]:
        """Image -> its readable answers, the one that counts last: starred, then the newest."""
        found: dict[str, list[Answer]] = {}
        good = [a for a in self.standing() if a.readable and not a.skipped]
        for answer in sorted(good, key=lambda a: (a.starred, a.moment)):
            found.setdefault(answer.seen, []).append(answer)
        for seen, variant in self.by_hand.items():
            found[seen].append(replace(found[seen][-1], variant=variant))
        return found
