"""Processes that a test kills or looks for; any of them may end by itself at that moment."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

import psutil


class Killed(BaseException):
    """Stands for a SIGKILL within a process: nothing of ours catches it."""


def kill_family(pid: int, *, children: bool = True) -> None:
    """SIGKILL a process, then all that it started, so that it cannot tell of their end; wait.

    NoSuchProcess when it is gone already: a test that meant to kill it would prove nothing.
    """
    first = psutil.Process(pid)
    family = [first, *(first.children(recursive=True) if children else [])]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=10)


def find(processes: Iterable[psutil.Process], pattern: str) -> psutil.Process | None:
    """The first whose command line has the regular expression; those that ended are passed over."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if re.search(pattern, " ".join(process.cmdline())):
                return process
    return None
