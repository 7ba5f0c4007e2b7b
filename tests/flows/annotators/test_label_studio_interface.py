"""A project's interface and the background, on a real Label Studio; open work stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flows.annotators.annotator import Project
from flows.annotators.label_studio import LabelStudio
from flows.annotators.label_studio_project import config_classes, instruction
from flows.annotators.masks import as_painted, decode_annotation
from tests.flows.annotators.conftest import CLASSES, MakeItems, answer, owner_of, pull, push

pytestmark = pytest.mark.services


def test_a_project_of_an_older_version_is_asked_on_with_its_brush(
    annotator: LabelStudio, title: str, make_items: MakeItems
) -> None:
    """A background adds the unknown label; answers, drafts and what people wrote stay."""
    project = annotator.create_project(owner_of(title), title, CLASSES, brush_only=True)
    path = f"/api/projects/{project.project_id}/"
    annotator.http.patch(path, {"expert_instruction": "Ours. Paint."})
    first, second = make_items(2)
    (task,) = push(annotator, project, [first])
    assert {region["type"] for region in task.result} == {"brushlabels"}
    answer(annotator, task)
    draft = {"result": task.result[:1], "lead_time": 3}
    made = annotator.http.post(f"/api/tasks/{task.task_id}/drafts", draft)
    painted = as_painted(second.pre_annotation_HW, CLASSES, "sky")
    asked = replace(second, pre_annotation_HW=painted, background="sky")
    for _ in range(2):
        (task,) = push(annotator, project, [asked])
        assert {region["type"] for region in task.result} == {"brushlabels"}
        shown = decode_annotation(task.result, [], CLASSES, size=(48, 64), background="sky")
        np.testing.assert_array_equal(shown, second.pre_annotation_HW)
        row = annotator.http.get(path)
        assert config_classes(row["label_config"]) == CLASSES
        assert row["parsed_label_config"]["label"]["labels"] == [*CLASSES, "unknown"]
        assert row["expert_instruction"] == "Ours. Paint."
    assert annotator.open_project(project.project_id, CLASSES) == project
    kept = annotator.http.get(f"/api/drafts/{made['id']}/")
    assert kept["result"] == draft["result"]
    (pulled,) = pull(annotator, project)
    np.testing.assert_array_equal(
        decode_annotation(pulled.result, [], CLASSES, size=(48, 64)), first.pre_annotation_HW
    )


def test_the_instruction_follows_the_background_of_the_round(
    annotator: LabelStudio, project: Project, make_items: MakeItems
) -> None:
    path = f"/api/projects/{project.project_id}/"
    before = annotator.http.get(path)
    for item, background in zip(make_items(3), ("sky", None, "road"), strict=True):
        (task,) = push(annotator, project, [replace(item, background=background)])
        data = annotator.http.get(f"/api/tasks/{task.task_id}/")["data"]
        assert data.get("background") == background
        assert (f"counts as {background}." in data["reason"]) == (background is not None)
        row = annotator.http.get(path)
        assert row["expert_instruction"] == instruction(CLASSES, background)
        assert row["label_config"] == before["label_config"]
