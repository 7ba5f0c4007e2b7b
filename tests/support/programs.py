"""A test that starts a program says so, by the mark `programs`: without it, the start is refused.

`make test-fast` leaves the marked ones out, and so stays free of git, DVC and services without a
list of what is fast. Each run of the tests holds it, since Python itself announces every start to
an audit hook. Tests of services are let be, and so are those with a fixture that makes a
workspace (`WORKSPACES`), which need git and DVC.
"""

from __future__ import annotations

import _posixsubprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

DVC_IN_PROCESS = "ssl_loop.dvc"  # announced by tests.support.quick_dvc
STARTS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"}
STARTS |= {"os.system", DVC_IN_PROCESS}
MAY_START = ("programs", "services", "browser", "postgres")
# Fixtures whose making starts git and DVC; tests with one of them are marked by it.
WORKSPACES = frozenset(("blank_toy", "fresh_workspace"))
# matplotlib asks for the machine's fonts when it first draws on it, ctypes for its libraries when a
# file of tests is run alone and is the first to import torch.
LET_BE = frozenset(("fc-list", "ldconfig"))

_NONE_MAY = pytest.StashKey[bool]()
_refusals: list[list[str]] = []  # what each of the refusing blocks around us has refused


@contextmanager
def refused() -> Iterator[list[str]]:
    """No program starts within; what was tried is in the list, also if the failure was caught."""
    tried: list[str] = []
    _refusals.append(tried)
    try:
        yield tried
    finally:
        _refusals.pop()


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _refusals or event not in STARTS:
        return
    program = _command(arguments)
    if Path(program.partition(" ")[0]).name not in LET_BE:
        _refusals[-1].append(program)
        pytest.fail(_complaint(program))


def _command(arguments: tuple[Any, ...]) -> str:
    """What was to be started, shortened; an event has the program first, then its arguments."""
    parts = arguments[1] if len(arguments) > 1 else arguments
    words = parts if isinstance(parts, list | tuple) else [parts]
    text = " ".join(w.decode(errors="replace") if isinstance(w, bytes) else str(w) for w in words)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _complaint(program: str) -> str:
    return (
        f"this test starts a program ({program or 'a copy of itself'}): give it "
        "@pytest.mark.programs, or its fixture a place in tests/support/programs.py"
    )


def pytest_configure() -> None:
    sys.addaudithook(_heard)
    fork_exec = _posixsubprocess.fork_exec

    def announced(arguments: Any, *others: Any) -> int:
        sys.audit("subprocess.Popen", "", list(arguments))
        return fork_exec(arguments, *others)

    # multiprocessing and joblib call it past `subprocess`, and nobody would hear of it.
    _posixsubprocess.fork_exec = announced


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if WORKSPACES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.programs)


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[_NONE_MAY] = not any(_may_start(item) for item in session.items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with _held(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _held(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    # Beside tests that may, the end of a module's or a session's fixture can come here.
    with _held(item) if item.config.stash[_NONE_MAY] else nullcontext():
        yield


def _may_start(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in MAY_START)


@contextmanager
def _held(item: pytest.Item) -> Iterator[None]:
    """The test may start no program in this phase, nor hide that it tried; marked ones may."""
    if _may_start(item):
        yield
        return
    with refused() as tried:
        yield
    if tried:
        pytest.fail(_complaint(tried[0]))
