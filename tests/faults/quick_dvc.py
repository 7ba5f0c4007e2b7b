"""DVC in this process instead of a program of its own: real, without 0.6 s of imports a call.

A tick calls it some ten times, and hundreds of faults are played. What fails is done again by the
program, so that the loop's own words about it are heard. Ticks that are killed use the program.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.processes.command import child_environment
from flows.workspace.workspace import Workspace

_program_dvc, _program_repro = Workspace.dvc, Workspace.repro


@contextlib.contextmanager
def quick_dvc() -> Iterator[None]:
    """Within, workspaces of this process work so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "dvc", _dvc)
        patch.setattr(Workspace, "repro", _repro)
        for name, value in child_environment().items():
            patch.setenv(name, value)
        yield


def _dvc(self: Workspace, *arguments: str, remedy: str = "") -> bytes:
    if arguments[0] == "status":  # its JSON is printed past the redirection
        return _program_dvc(self, *arguments, remedy=remedy)
    code, out = _main(self, *arguments)
    return _program_dvc(self, *arguments, remedy=remedy) if code else out.encode()


def _repro(self: Workspace, stage: str, on_line: Callable[[str], None] = print) -> None:
    if _main(self, "repro", "--quiet", "--single-item", stage)[0]:
        _program_repro(self, stage, on_line)


def _main(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    from dvc.cli import main

    before, out = Path.cwd(), io.StringIO()
    try:
        os.chdir(workspace.root)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            return main(["--wait-for-lock", *arguments]), out.getvalue()
    finally:
        os.chdir(before)
