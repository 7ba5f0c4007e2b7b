"""Run one tick in a process of its own and die by SIGKILL at a named point of it.

The point is where production code is interrupted; nothing in production knows of it. `killed_at`
forks such a process from one that has imported everything, and uses DVC inside it, so that only the
tick costs time. `python crash_driver.py ROOT TOOL POINT` starts from nothing, with DVC's program.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from db.session import open_ledger
from flows.loop import Loop
from flows.steps import collect, merge, push, reproduce, take_in
from flows.tick import tick
from flows.workspace.workspace import Workspace
from pipeline import layout
from tests.support.fake_annotator import FakeAnnotator
from tests.support.quick_dvc import quick_dvc


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Callable[..., bool] = lambda *a, **k: True) -> None:
    """Die just before `owner.name` is called with arguments for which `when` holds."""
    original = getattr(owner, name)

    def patched(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            die()
        return original(*args, **kwargs)

    setattr(owner, name, patched)


def second_call() -> Callable[..., bool]:
    calls = iter([False])
    return lambda *a, **k: next(calls, True)


def message(prefix: str) -> Callable[..., bool]:
    return lambda workspace, paths, text: text.startswith(prefix)


POINTS: dict[str, Callable[[], None]] = {
    "take-in, images copied": lambda: before(Workspace, "dvc_add"),
    "take-in, before the commit": lambda: before(Workspace, "commit", message("Take in")),
    "take-in, between commit and tag": lambda: before(Workspace, "tag"),
    "take-in, tagged but not recorded": lambda: before(take_in, "record_ingest"),
    "between repro and commit": lambda: before(Workspace, "commit", message("Round")),
    "between commit and tag": lambda: before(
        Workspace, "tag", lambda ws, name, *_, **__: name.endswith("/r0")
    ),
    "between tag and the ledger": lambda: before(reproduce, "ensure_recorded"),
    "between tag and publish": lambda: before(FakeAnnotator, "push"),
    "during publish": lambda: before(FakeAnnotator, "_write", _two_tasks),
    "after the tool has all, before the ledger": lambda: before(
        sys.modules["flows.steps.publish"], "record_ls_task"
    ),
    "during collect": lambda: before(collect, "record_annotation", second_call()),
    "between collect and merge": lambda: before(merge, "_back_to"),
    "during the merge's copy": lambda: before(merge, "_place_mask", second_call()),
    "between dvc add and the merge's commit": lambda: before(Workspace, "commit", message("Merge")),
    "between the merge's commit and its tag": lambda: before(
        Workspace, "tag", lambda ws, name, *_, **__: name.endswith("-labels")
    ),
    "between the merge's tag and the ledger": lambda: before(
        merge, "note", lambda session, kind, *_, **__: kind == "merged"
    ),
    "before the final tag": lambda: before(
        Workspace, "tag", lambda ws, name, *_, **__: name.endswith("/final")
    ),
}
# Of a workspace with remotes; see test_remote.py.
PUSH_POINTS: dict[str, Callable[[], None]] = {
    "between tag and push": lambda: before(push, "_push_data"),
    "between data and history": lambda: before(push, "_push_history"),
    "pushed but not recorded": lambda: before(push, "note"),
}


def _two_tasks(_: FakeAnnotator, state: dict[str, Any]) -> bool:
    return len(state["tasks"]) == 2


def killed_at(point: str, root: Path, tool: Path) -> bool:
    """Whether a tick came to that point, where it is killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "dvc.cli", "dvc.repo"])
    process = context.Process(target=_quick_tick, args=(root, tool, point))
    process.start()
    process.join(timeout=300)
    assert process.exitcode is not None, f"the tick hangs on its way to {point!r}"
    return process.exitcode == -signal.SIGKILL


def _quick_tick(root: Path, tool: Path, point: str) -> None:
    with quick_dvc():
        run(root, tool, point)


def run(root: Path, tool: Path, point: str) -> None:
    """One tick that is killed at `point`; "nowhere" goes through."""
    if point != "nowhere":
        {**POINTS, **PUSH_POINTS}[point]()
    people = FakeAnnotator(tool)
    loop = Loop(
        workspace=Workspace(root),
        ledger=open_ledger(root / layout.LEDGER),
        log=print,
        annotator_factory=lambda *_: people,
    )
    tick(loop)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
