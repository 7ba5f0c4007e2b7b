"""A query is published with click to mask, and all the same without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.annotators.annotator import Project
from flows.loop import Loop
from flows.services import stack
from flows.tick import tick
from pipeline.errors import ServiceError
from tests.flows.conftest import stage_domain
from tests.support.fake_annotator import FakeAnnotator


def test_clicks_are_offered_once_the_tasks_are_there_and_are_no_condition(
    toy: Path,
    open_toy: Callable[[Path], Loop],
    people: FakeAnnotator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered: list[int] = []

    def refuse(root: Path, annotator: Any, project: Project) -> None:
        offered.append(len(people.open_items()))
        raise ServiceError("the backend does not answer")

    monkeypatch.setattr(stack, "ensure_assist", refuse)
    stage_domain(toy, "day", labelled=2)
    loop = open_toy(toy)
    said: list[str] = []
    loop.log = said.append
    assert tick(loop).startswith("waiting 0/3")
    assert offered == [3]
    assert "click to mask is not offered: the backend does not answer" in said
