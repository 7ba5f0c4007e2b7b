"""When the worker may begin again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psutil
import pytest

from flows.services.prefect_worker import may_renew
from pipeline.errors import ServiceError

pytestmark = pytest.mark.programs


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        yield psutil.Process(sleeping.pid)
        sleeping.kill()


@pytest.fixture
def parent() -> Iterator[psutil.Process]:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as shell:
        found = psutil.Process(shell.pid)
        while not found.children():
            pass
        yield found
        for child in found.children():
            child.kill()


def test_process_above_the_limit_may_begin_again_when_nothing_runs(process: psutil.Process) -> None:
    assert may_renew(process, 0.01, lambda: [])
    assert not may_renew(process, 4096, lambda: [])


def test_run_that_was_taken_keeps_the_process(process: psutil.Process) -> None:
    assert not may_renew(process, 0.01, lambda: [{"id": "a"}])


def test_run_in_a_child_keeps_the_process(parent: psutil.Process) -> None:
    assert not may_renew(parent, 0.01, lambda: [])


def test_server_that_does_not_answer_keeps_the_process(process: psutil.Process) -> None:
    def no_answer() -> list[str]:
        raise ServiceError("down")

    assert not may_renew(process, 0.01, no_answer)
