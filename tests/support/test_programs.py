"""No program is started by a test that does not say so."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.programs import refused

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", ""]
PYTEST = [sys.executable, "-m", "pytest", "-p", "tests.support.programs", "-rA", "-q"]


def in_a_process() -> None:
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(PROGRAM),
        lambda: subprocess.Popen(PROGRAM),
        lambda: os.system("true"),
        lambda: os.posix_spawn(sys.executable, PROGRAM, {}),
        lambda: os.fork() or os._exit(0),
        in_a_process,
    ],
    ids=["run", "Popen", "system", "posix_spawn", "fork", "multiprocessing"],
)
def test_however_it_is_started_it_is_refused(start: Callable[[], object]) -> None:
    with refused() as tried, pytest.raises(pytest.fail.Exception, match=r"pytest\.mark\.programs"):
        start()
    assert len(tried) == 1


def test_fonts_may_be_looked_up() -> None:
    with refused() as tried, pytest.raises(FileNotFoundError):
        subprocess.run(["/nowhere/fc-list"])
    assert tried == []


TESTS = """
import subprocess, sys
import pytest

PROGRAM = [sys.executable, "-c", ""]

@pytest.fixture
def starting():
    subprocess.run(PROGRAM)

@pytest.fixture
def blank_toy():
    subprocess.run(PROGRAM)

@pytest.fixture
def ending():
    yield
    subprocess.run(PROGRAM)

def test_by_a_fixture(starting): ...

def test_that_hides_it():
    try:
        subprocess.run(PROGRAM)
    except BaseException:
        pass

def test_at_its_end(ending): ...

@pytest.mark.programs
def test_marked(starting): ...

def test_of_a_workspace(blank_toy): ...

def test_of_none(): ...
"""


@pytest.mark.programs
@pytest.mark.parametrize(
    ("options", "passed", "refused"),
    [
        # Beside tests that may, what ends a fixture is not told from the end of one they share.
        (
            (),
            ["at_its_end", "marked", "of_a_workspace", "of_none"],
            ["by_a_fixture", "that_hides_it"],
        ),
        (
            ("-m", "not programs"),
            ["at_its_end", "of_none"],
            ["by_a_fixture", "that_hides_it", "at_its_end"],
        ),
    ],
    ids=["all", "without programs"],
)
def test_only_who_says_so_starts_one(
    tmp_path: Path, options: tuple[str, ...], passed: list[str], refused: list[str]
) -> None:
    (tmp_path / "test_starts.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    programs\n")
    done = subprocess.run(
        [*PYTEST, *options, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    lines = [line.split(" - ")[0] for line in done.stdout.splitlines() if "::" in line]
    named = [(line.split()[0], line.rpartition("::test_")[2]) for line in lines]
    assert sorted(name for word, name in named if word == "PASSED") == sorted(passed)
    assert sorted(name for word, name in named if word in ("FAILED", "ERROR")) == sorted(refused)
