"""The flow itself, once, under Prefect's own test harness; its steps are tested as functions."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows import loop as loop_module
from flows.ssl_loop import TASKS, StepTask, ssl_loop
from flows.tick import STEPS
from flows.workspace.workspace import Workspace
from tests.flows.conftest import stage_domain, truth
from tests.support.fake_annotator import FakeAnnotator


def test_every_step_is_a_task_without_result_caching() -> None:
    for name, step in vars(TASKS).items():
        assert isinstance(step, StepTask)
        assert step.task.fn is getattr(STEPS, name)
        assert type(step.task.cache_policy).__name__ == "_None"
        assert not step.task.persist_result


def test_only_steps_that_ask_a_service_are_tried_again() -> None:
    again = {name for name, step in vars(TASKS).items() if step.task.retries}
    assert again == {"publish", "collect", "collect_late"}


def test_the_flow_turns_a_round_and_shows_it(
    toy: Path, people: FakeAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "connect_annotator", lambda *_: people)
    stage_domain(toy, "day", labelled=2, val=1)
    with prefect_test_harness(server_startup_timeout=120):
        assert ssl_loop(str(toy)) == "waiting 0/3: 3 open (day/r0)"
        for seed, item_id in enumerate(people.open_items()):
            people.answer(item_id, truth(seed))
        assert ssl_loop(str(toy)) == "waiting 0/3: 3 open (day/r1)"
        with Workspace(toy).lock():  # another run, or a person's command
            state = ssl_loop(str(toy), return_state=True)
        assert state.name == "Busy"
        assert state.is_completed()
        assert "in use by process" in state.message
        with get_client(sync_client=True) as client:
            artifacts = {a.key: a for a in client.read_artifacts(limit=50)}
            names = {run.name for run in client.read_task_runs(limit=200)}
    assert {"rounds", "query", "annotate", "report"} <= set(artifacts)
    assert "data:image/jpeg" in str(artifacts["query"].data)
    assert {
        "take-in:day",
        "dvc:embed",
        "dvc:acquire",
        "publish:day/r0",
        "merge:day/r0-labels",
    } <= names
