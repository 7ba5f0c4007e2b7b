"""What `ssl-loop verify` says of a workspace after a fault, beside the harness's own checker."""

from __future__ import annotations

import contextlib
import io

from flows.loop import open_loop
from flows.verify import verify
from tests.faults.scene import Scene
from tests.support.quick_dvc import quick_dvc


def verified(scene: Scene, expected: frozenset[str]) -> list[str]:
    """Findings of other invariants than the expected ones, and what could not be judged."""
    with (
        quick_dvc(),
        open_loop(scene.root, log=lambda line: None) as loop,
        loop.workspace.lock(),
        contextlib.redirect_stderr(io.StringIO()),  # progress
    ):
        report = verify(loop)
    found = [one for one in report.findings if one.invariant not in expected]
    return [
        *(f"{one.invariant}: {one.where}: {one.what}" for one in found),
        *(f"{name}: not checked: {why}" for name, why in report.unchecked.items()),
    ]
