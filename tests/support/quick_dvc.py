"""DVC in this process instead of a program of its own: real, without 0.6 s of imports a call.

A tick calls it some ten times, and hundreds of ticks are played. What fails is done again by the
program, so that the loop's own words about it are heard. Ticks that are killed use the program.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from flows.processes.command import child_environment
from flows.workspace.workspace import Workspace
from tests.support.programs import DVC_IN_PROCESS

_program_dvc, _program_repro = Workspace.dvc, Workspace.repro


@contextlib.contextmanager
def quick_dvc() -> Iterator[None]:
    """Within, workspaces of this process work so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "dvc", _dvc)
        patch.setattr(Workspace, "repro", _repro)
        yield


def _dvc(self: Workspace, *arguments: str, remedy: str = "") -> bytes:
    code, out = _main(self, *arguments)
    return _program_dvc(self, *arguments, remedy=remedy) if code else out.encode()


def _repro(self: Workspace, stage: str, on_line: Callable[[str], None] = print) -> None:
    if _main(self, "repro", "--quiet", "--single-item", stage)[0]:
        _program_repro(self, stage, on_line)


def _main(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    sys.audit(DVC_IN_PROCESS, f"dvc {' '.join(arguments)}")  # a test of this is no fast one
    from dvc.cli import main

    before, out = Path.cwd(), io.StringIO()
    with (
        mock.patch.dict(os.environ, child_environment(), clear=True),
        mock.patch("dvc.ui.ui.write_json", lambda data, **_: out.write(json.dumps(data))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            os.chdir(workspace.root)
            return main(["--wait-for-lock", *arguments]), out.getvalue()
        finally:
            os.chdir(before)
