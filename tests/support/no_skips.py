"""A skipped test is a failure: `pytest -p tests.support.no_skips`, as .ci/run does.

With several test processes (pytest-xdist) each tells the first one what it skipped.
"""

from __future__ import annotations

from typing import Any

import pytest

TOLD = "skipped"  # key of what a process hands over at its end
_skipped: list[str] = []


def _note(report: pytest.CollectReport | pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and report.nodeid not in _skipped:
        _skipped.append(report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist has ended."""
    told = getattr(node, "workeroutput", {}).get(TOLD, [])
    _skipped.extend(name for name in told if name not in _skipped)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[TOLD] = list(_skipped)
    elif _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped:
        terminalreporter.section("skipped, and so failed")
        for name in _skipped:
            terminalreporter.line(name)
