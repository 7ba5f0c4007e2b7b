"""A tick in a process of its own that dies by SIGKILL at the n-th time it does something.

`python -m tests.faults.child ROOT SEAM N UNTIL`: SEAM is one of SEAMS; with N = 0 it does not die
and prints how often each happened. UNTIL is the step after which the tick stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.orm import Session

from flows.loop import open_loop
from flows.tick import tick
from tests.faults.place import Stop, stops

# What a tick does to the world, one after the other: a seam lies before and after each.
SEAMS = (
    "before a request",
    "after a request",
    "before a program",
    "while a program runs",
    "after a program",
    "before a rename",
    "after a rename",
    "before a commit of the ledger",
    "after a commit of the ledger",
)
MARK = "COUNTS "
counts: Counter[str] = Counter()


class Fuse:
    """Counts seams and dies at one."""

    def __init__(self, seam: str, number: int) -> None:
        self.seam, self.number = seam, number

    def pass_by(self, seam: str) -> None:
        counts[seam] += 1
        if seam == self.seam and counts[seam] == self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, before: str, after: str) -> None:
        """Every call of `owner.name` lies between two seams."""
        original: Callable[..., Any] = getattr(owner, name)

        def patched(*args: Any, **kwargs: Any) -> Any:
            self.pass_by(before)
            result = original(*args, **kwargs)
            self.pass_by(after)
            return result

        setattr(owner, name, patched)


def main() -> None:
    root, seam, number, until = sys.argv[1:]
    fuse = Fuse(seam, int(number))
    fuse.around(httpx.Client, "send", "before a request", "after a request")
    fuse.around(subprocess.Popen, "__init__", "before a program", "while a program runs")
    fuse.around(subprocess.Popen, "communicate", "-", "after a program")
    fuse.around(os, "replace", "before a rename", "after a rename")
    commit = ("before a commit of the ledger", "after a commit of the ledger")
    fuse.around(Session, "commit", *commit)
    with open_loop(Path(root)) as loop, contextlib.suppress(Stop):
        tick(loop, stops(lambda step: step == until, after=True))
    print(MARK + json.dumps(counts))


if __name__ == "__main__":
    main()
