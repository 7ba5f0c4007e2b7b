"""Somebody who answers through Label Studio's own API, as a person in its browser would.

Takes the task that Label Studio hands out next, changes the pre-annotation into what the truth
says, and errs at given rates. For demos, tests and rehearsals; it knows the tool, a folder of true
masks outside the workspace, and nothing of the loop.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from flows.annotators import simulated_strokes
from flows.annotators.annotator import Region
from flows.annotators.label_studio_http import Http
from flows.annotators.label_studio_project import RETURNED, config_classes, config_kind
from flows.annotators.masks import Mask, as_painted, decode_annotation, labels_for
from flows.annotators.simulated_strokes import Interface
from pipeline.campaign.acts import MOST_CORRECTIONS, Acts, minutes_of
from pipeline.campaign.corrections import apply_to, corrections_of
from pipeline.data.formats.images import load_mask
from pipeline.errors import ConfigError, DataError, ServiceError
from pipeline.records.regions import kept_inside, parse_boxes

# Left on a task that was answered unreadably once, so that no process does so twice.
ONCE_UNDECODABLE = "simulated_undecodable"
CORRECTED = "simulated_corrected"  # and on one that was answered again after it was sent back

Kind = Literal["skip", "edit_after_submit", "double_submit", "undecodable", "plain"]


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How people err. The shares of tasks skipped, edited, doubled and unreadable exclude each
    other; a wrong class comes on top."""

    seed: int = 0
    """The same seed and item give the same answer."""
    boundary_noise_px: float = 0.0
    """How far painted boundaries are off, about."""
    wrong_class: float = 0.0
    """Share of answers in which one object gets a wrong class."""
    skip: float = 0.0
    """Share of tasks skipped."""
    edit_after_submit: float = 0.0
    """Share submitted half done and completed at the end of the pass."""
    double_submit: float = 0.0
    """Share submitted twice, as by a double click."""
    undecodable: float = 0.0
    """Share whose first answer nobody can read; asked again, it is answered properly."""
    lead_time_base_s: float = 8.0
    """Median seconds to look at an image that needs nothing."""
    lead_time_per_root_pixel_s: float = 0.3
    """Median seconds more per square root of the pixels changed."""
    most_corrections: float = MOST_CORRECTIONS
    """Wrong areas corrected at most, the largest first, by a stroke each, where only corrections
    are asked for."""
    lead_time_sigma: float = 0.4
    """Spread of the log-normal lead times."""

    def __post_init__(self) -> None:
        """ConfigError names the value that is out of range."""
        for name in ("wrong_class", *_EXCLUSIVE):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} = {getattr(self, name)}: expected a share, 0 to 1")
        if sum(getattr(self, name) for name in _EXCLUSIVE) > 1.0:
            raise ConfigError(f"{' + '.join(_EXCLUSIVE)} exceed 1: they exclude each other")
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ConfigError(f"{field.name} = {getattr(self, field.name)}: expected >= 0")

    def generator(self, item_id: str) -> np.random.Generator:
        """Of everything that is drawn for one item, in the order kind, mask, then the rest."""
        return np.random.default_rng([self.seed, *hashlib.sha256(item_id.encode()).digest()])

    def kind(self, rng: np.random.Generator) -> Kind:
        """What becomes of the task."""
        shares = np.cumsum([getattr(self, name) for name in _EXCLUSIVE])
        place = int(np.searchsorted(shares, rng.random(), side="right"))
        return _EXCLUSIVE[place] if place < len(_EXCLUSIVE) else "plain"

    def wanted(
        self, before_HW: Mask, truth_HW: Mask, num_classes: int, rng: np.random.Generator
    ) -> Wanted:
        """What the person means to submit: the truth, by an unsure hand, perhaps with a slip."""
        mask_HW = simulated_strokes.aim(before_HW, truth_HW, self.boundary_noise_px, rng)
        slips = bool(rng.random() < self.wrong_class)
        if slips:
            mask_HW = simulated_strokes.slip(mask_HW, num_classes, rng)
        return Wanted(mask_HW, slips)


class Wanted(NamedTuple):
    """The mask that a person means to submit."""

    mask_HW: Mask
    slips: bool
    """Whether one object in it has a wrong class."""


_EXCLUSIVE: tuple[Kind, ...] = ("skip", "edit_after_submit", "double_submit", "undecodable")


@dataclass(frozen=True, kw_only=True)
class AnswerSummary:
    """Tasks answered, by kind; every task is in exactly one of the first four."""

    as_proposed: int = 0
    corrected: int = 0
    painted: int = 0  # without a pre-annotation
    skipped: int = 0
    wrong_class: int = 0
    edited: int = 0
    doubled: int = 0
    undecodable: int = 0

    @property
    def answered(self) -> int:
        """All tasks."""
        return self.as_proposed + self.corrected + self.painted + self.skipped

    def __add__(self, other: AnswerSummary) -> AnswerSummary:
        """The counts of both."""
        names = [field.name for field in fields(self)]
        return AnswerSummary(**{n: getattr(self, n) + getattr(other, n) for n in names})


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What is going to be submitted for one task."""

    task_id: int
    kind: Kind
    prediction_id: int | None
    before: list[Region]
    result: list[Region]
    lead_time_s: float
    summary: AnswerSummary


class SimulatedAnnotator:
    """One person with one account, and the truth."""

    def __init__(
        self, url: str, api_key: str, truth: Path, behaviour: Behaviour | None = None
    ) -> None:
        """`truth` holds class-index masks: <sample_id>.png, or <domain>/masks/<stem>.png, or
        masks/<stem>.png, or <stem>.png, looked for in this order."""
        self.http = Http(url, api_key)
        self.truth = truth
        self.behaviour = behaviour or Behaviour()

    def answer(self, project_id: int, limit: int | None = None) -> AnswerSummary:
        """Answer what is open, in the order Label Studio gives, `limit` tasks at most."""
        interface = self._interface(project_id)
        summary = AnswerSummary()
        unfinished: list[tuple[int, _Answer]] = []
        while limit is None or summary.answered < limit:
            task = self._next(project_id)
            if task is None:
                break
            answer = self._decide(task, interface)
            annotation_id = self._submit(answer)
            if answer.kind == "edit_after_submit":
                unfinished.append((annotation_id, answer))
            summary += answer.summary
        for task in self._returned(project_id):
            if limit is None or summary.answered < limit:
                summary += self._correct(task, interface)
        for annotation_id, answer in unfinished:
            body = {"result": answer.result, "lead_time": answer.lead_time_s}
            self.http.patch(f"/api/annotations/{annotation_id}/", body)
        return summary

    def run(
        self,
        until: Callable[[], bool],
        *,
        projects: Callable[[], Sequence[int]],
        pause_s: float = 1.0,
        on_answers: Callable[[str, AnswerSummary], None] = lambda title, summary: None,
        on_failure: Callable[[ServiceError], None] | None = None,
    ) -> AnswerSummary:
        """Answer in the projects of these ids, pass after pass, until `until()`.

        `on_answers` is told the project and the counts of each pass that had any, `on_failure` of
        a pass that a tool too busy to answer broke off: the next one goes on. Without it that ends
        the run.
        """
        total = AnswerSummary()
        while not until():
            try:
                for project_id in projects():
                    summary = self.answer(project_id)
                    total += summary
                    if summary.answered:
                        title = self.http.get(f"/api/projects/{project_id}/")["title"]
                        on_answers(title, summary)
            except ServiceError as error:
                if on_failure is None:
                    raise
                on_failure(error)
            if not until():
                time.sleep(pause_s)
        return total

    def _returned(self, project_id: int) -> list[dict[str, Any]]:
        """Tasks in the tab of answers that were sent back."""
        wanted = {
            "filter": f"filter:tasks:data.{RETURNED}",
            "operator": "equal",
            "type": "String",
            "value": "yes",
        }
        found: list[dict[str, Any]] = self.http.get(
            "/api/tasks",
            project=project_id,
            fields="task_only",
            include="id",
            page_size=1000,
            query=json.dumps({"filters": {"conjunction": "and", "items": [wanted]}}),
        )["tasks"]
        return [self.http.get(f"/api/tasks/{task['id']}/") for task in found]

    def _interface(self, project_id: int) -> Interface:
        config = self.http.get(f"/api/projects/{project_id}/")["label_config"]
        return Interface(config_classes(config), config_kind(config))

    def _correct(self, task: dict[str, Any], interface: Interface) -> AnswerSummary:
        """Open the answer that was sent back, paint it properly, press Update."""
        answer = self._decide(task, interface)
        if task["meta"].get(CORRECTED) or not task["annotations"]:
            return AnswerSummary()
        newest = max(task["annotations"], key=lambda annotation: annotation["id"])
        self.http.patch(f"/api/tasks/{task['id']}/", {"meta": {**task["meta"], CORRECTED: True}})
        body = {"result": answer.result, "lead_time": answer.lead_time_s}
        self.http.patch(f"/api/annotations/{newest['id']}/", body)
        return answer.summary

    def _next(self, project_id: int) -> dict[str, Any] | None:
        """What the button "Label All Tasks" would open; None when nothing is left."""
        return self.http.get_or_none(f"/api/projects/{project_id}/next")

    def _decide(self, task: dict[str, Any], interface: Interface) -> _Answer:
        item_id, sample_id = task["data"].get("item_id"), task["data"].get("sample_id")
        if not item_id or not sample_id:
            raise DataError(f"task {task['id']} has no item_id and sample_id: not the loop's")
        rng = self.behaviour.generator(item_id)
        kind = self.behaviour.kind(rng)
        if kind == "undecodable" and task["meta"].get(ONCE_UNDECODABLE):
            kind = "plain"
        prediction = task["predictions"][0] if task["predictions"] else {"id": None, "result": []}
        before = prediction["result"]
        class_names, background = interface.class_names, task["data"].get("background")
        boxes = parse_boxes(task["data"].get("regions", ""), f"task {task['id']}")
        truth_HW = kept_inside(self._truth(task, len(class_names)), boxes)
        height, width = truth_HW.shape
        before_HW = kept_inside(
            decode_annotation(before, [], class_names, size=(height, width), background=background),
            boxes,
        )
        acts = None
        if task["data"].get("corrections"):
            most = int(self.behaviour.most_corrections)
            done = corrections_of(before_HW, truth_HW, most, "stroke")
            acts, truth_HW = len(done), before_HW.copy()
            apply_to(truth_HW, done)
        aim_HW, slips = self.behaviour.wanted(before_HW, truth_HW, len(class_names), rng)
        changed = int((aim_HW != before_HW).sum())
        paint_HW = kept_inside(as_painted(aim_HW, class_names, background), boxes)
        painting = Interface(labels_for(class_names, background), interface.kind)
        result = simulated_strokes.repaint(before, paint_HW, painting, rng)
        if kind == "undecodable" and not result:
            kind = "plain"  # nothing to garble
        return _Answer(
            task_id=task["id"],
            kind=kind,
            prediction_id=prediction["id"],
            before=before,
            result=[] if kind == "skip" else result,
            lead_time_s=self._lead_time_s(0 if kind == "skip" else changed, acts, rng),
            summary=_summary(kind, changed=bool(changed), fresh=not before, slips=slips),
        )

    def _lead_time_s(self, pixels: int, acts: int | None, rng: np.random.Generator) -> float:
        """By the pixels changed, or where only corrections were asked for by these acts."""
        how = self.behaviour
        median = how.lead_time_base_s + how.lead_time_per_root_pixel_s * pixels**0.5
        if acts is not None:
            median = 60 * minutes_of(Acts(looks=1, strokes=acts))
        return round(float(median * np.exp(how.lead_time_sigma * rng.standard_normal())), 3)

    def _submit(self, answer: _Answer) -> int:
        """The annotation's id."""
        result, lead_time_s = answer.result, answer.lead_time_s
        if answer.kind == "edit_after_submit":
            result, lead_time_s = answer.before or answer.result[:1], lead_time_s / 2
        elif answer.kind == "undecodable":
            # The note first: killed in between, the task is answered properly next time.
            self.http.patch(f"/api/tasks/{answer.task_id}/", {"meta": {ONCE_UNDECODABLE: True}})
            result = simulated_strokes.undecodable(result)
        body = {
            "result": result,
            "lead_time": lead_time_s,
            "was_cancelled": answer.kind == "skip",
            "parent_prediction": None if answer.kind == "skip" else answer.prediction_id,
        }
        path = f"/api/tasks/{answer.task_id}/annotations/"
        annotation_id = int(self.http.post(path, body)["id"])
        if answer.kind == "double_submit":
            self.http.post(path, body)
        return annotation_id

    def _truth(self, task: dict[str, Any], num_classes: int) -> Mask:
        return load_mask(self._truth_file(task["data"]["sample_id"]), num_classes)

    def _truth_file(self, sample_id: str) -> Path:
        domain, _, stem = sample_id.partition("/")
        places = (
            self.truth / f"{sample_id}.png",
            self.truth / domain / "masks" / f"{stem}.png",
            self.truth / "masks" / f"{stem}.png",
            self.truth / f"{stem}.png",
        )
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            listed = "\n  ".join(map(str, places))
            raise DataError(f"no true mask of {sample_id}; looked for\n  {listed}")
        return found


def _summary(kind: Kind, *, changed: bool, fresh: bool, slips: bool) -> AnswerSummary:
    if kind == "skip":
        return AnswerSummary(skipped=1)
    return AnswerSummary(
        painted=int(fresh),
        corrected=int(changed and not fresh),
        as_proposed=int(not changed and not fresh),
        wrong_class=int(slips),
        edited=int(kind == "edit_after_submit"),
        doubled=int(kind == "double_submit"),
        undecodable=int(kind == "undecodable"),
    )
