"""From a question of Label Studio's to the region that it shows."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.annotators.assist.click_log import Clicked, keep_click, marks_as_lists, now
from flows.annotators.assist.current_engine import CurrentEngine
from flows.annotators.assist.prompts import Prompts, read_prompts
from flows.annotators.assist.task_images import TaskImages
from flows.annotators.masks import brush_region
from flows.annotators.tools.packed_pixels import PackedPixels
from pipeline.clicks.marks import Click
from pipeline.errors import AnnotationError, SslLoopError

REMEMBERED = 32  # masks, of all tasks together: what a click beside the thing may take away from


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A mask that was given."""

    task_id: int
    prompts: Prompts
    region_id: str
    pixels: PackedPixels


class ClickedMasks:
    """Answers questions, one at a time, and keeps what was asked."""

    def __init__(
        self,
        root: Path,
        images: TaskImages,
        current: CurrentEngine,
        say: Callable[[str], object],
    ) -> None:
        """Clicks are kept in the workspace at `root`; `say` writes a line into the log."""
        self._root, self._images, self._current, self._say = root, images, current, say
        self._answered: deque[Answered] = deque(maxlen=REMEMBERED)

    def predict(self, question: Any) -> dict[str, Any]:
        """The body of Label Studio's /predict as the region to show; AnnotationError where the
        question cannot be answered, with the reason for the log."""
        at, started = now(), time.perf_counter()
        task, context = _task_and_context(question)
        image = self._images.of_task(task.get("data"))
        with self._current.clicking():
            ready = self._current.get()
            prompts = read_prompts(context.get("result"), ready.class_names)
            task_id, num_asked = task["id"], len(prompts.marks)
            prompts, region_id = self._continued(task_id, prompts)
            index = ready.class_names.index(prompts.class_name)
            mask_HW = ready.engine.mask(image.path, prompts.marks, index)
        if mask_HW.shape != prompts.size:
            raise AnnotationError(
                f"{image.item_id}: Label Studio shows {prompts.size} (height, width), the image "
                f"is {mask_HW.shape}"
            )
        pixels = PackedPixels(mask_HW)
        self._answered.append(
            Answered(task_id=task_id, prompts=prompts, region_id=region_id, pixels=pixels)
        )
        self._keep(
            Clicked(
                at=at,
                item_id=image.item_id,
                task_id=task_id,
                class_name=prompts.class_name,
                engine=ready.engine.name,
                seconds=round(time.perf_counter() - started, 3),
                pixels=int(mask_HW.sum()),
                **marks_as_lists(prompts.marks),
            )
        )
        alpha_HW = mask_HW.astype(np.uint8) * 255
        region = brush_region(alpha_HW, prompts.class_name, region_id=region_id)
        # One of which nothing is left is given all the same: its place in the answer is to be bare.
        is_new = len(prompts.marks) == num_asked
        return {
            "model_version": ready.engine.name,
            "score": 1.0,
            "result": [region] if mask_HW.any() or not is_new else [],
        }

    def _continued(self, task_id: int, prompts: Prompts) -> tuple[Prompts, str]:
        """The whole question and the id of the region that answers it.

        Where Label Studio takes masks over at once it forgets what was clicked before. So points
        that only take away go on from the newest mask of that class that they lie in, and its
        region is replaced.
        """
        if prompts.are_places:
            return prompts, secrets.token_hex(5)
        for before in reversed(self._answered):
            if (before.task_id, before.prompts.class_name) != (task_id, prompts.class_name):
                continue
            if before.prompts.size == prompts.size and _meets(before, prompts):
                marks = (*before.prompts.marks, *prompts.marks)
                return replace(before.prompts, marks=marks), before.region_id
        raise AnnotationError(
            "a click that takes away (Alt), and no mask of that class there: click on the thing"
        )

    def _keep(self, clicked: Clicked) -> None:
        try:
            keep_click(self._root, clicked)
        except (SslLoopError, OSError) as error:  # never a reason to give no mask
            self._say(f"a click is not kept: {error}")


def _meets(before: Answered, prompts: Prompts) -> bool:
    places = [mark.pixel(prompts.size) for mark in prompts.marks if isinstance(mark, Click)]
    return any(before.pixels.rows(slice(row, row + 1))[0, column] for row, column in places)


def _task_and_context(question: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The one task and what was clicked; AnnotationError for what is no question of a person's."""
    tasks = question.get("tasks") if isinstance(question, dict) else None
    params = question.get("params") if isinstance(question, dict) else None
    context = params.get("context") if isinstance(params, dict) else None
    if not isinstance(context, dict):
        raise AnnotationError("no context: only people's clicks are answered, no predictions made")
    if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], dict):
        raise AnnotationError("tasks: expected one")
    if type(tasks[0].get("id")) is not int:
        raise AnnotationError("a task without a number")
    return tasks[0], context
