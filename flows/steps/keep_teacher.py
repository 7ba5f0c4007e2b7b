"""The teacher of the round that ends, handed over to the next.

`models/teacher` is an output of a round, and nothing of a round is its own input: what the next one
starts from lies in previous/teacher, copied by the step that commits what it learns from.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.loop import Loop
from pipeline import layout

DVC_LOCK = Path("dvc.lock")


def hand_over_teacher(loop: Loop) -> list[Path]:
    """Copy the teacher of HEAD to previous/teacher; what is to be `dvc add`ed and committed.

    Killed before the commit, the step that calls it does it again. Nothing without
    adapt.warm_start, or before the first round.
    """
    workspace = loop.workspace
    if not loop.read_params().adapt.warm_start or not workspace.exists_at("HEAD", DVC_LOCK):
        return []
    # A round that was begun after HEAD may have trained another one.
    workspace.checkout_paths("HEAD", [DVC_LOCK])
    # Alone: asked for beside a changed .dvc file, DVC removes this folder instead (3.67).
    workspace.dvc_checkout([layout.TEACHER], force=True)
    target = loop.root / layout.PREVIOUS_TEACHER
    beside = target.with_name(f"{target.name}.copying")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(loop.root / layout.TEACHER, beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)
    return [layout.PREVIOUS_TEACHER]
