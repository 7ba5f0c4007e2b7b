"""The teacher of the round that ends, handed over to the next: `models/teacher` is an output of a
round, and what a round starts from has to lie elsewhere: nothing of a round is its own input."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.loop import Loop
from pipeline import layout

DVC_LOCK = Path("dvc.lock")


def hand_over_teacher(loop: Loop) -> list[Path]:
    """Copy the teacher of HEAD to previous/teacher; what is to be `dvc add`ed and committed.

    To be called between rounds, by the step that commits what the next one starts from; killed, the
    step does it again. Nothing without adapt.warm_start, or before the first round.
    """
    workspace = loop.workspace
    if not loop.params.adapt.warm_start or not workspace.exists_at("HEAD", DVC_LOCK):
        return []
    # A round that was begun after HEAD may have trained another one.
    workspace.checkout_paths("HEAD", [DVC_LOCK])
    workspace.dvc_checkout([layout.TEACHER], force=True)
    target = loop.root / layout.PREVIOUS_TEACHER
    beside = target.with_name(f"{target.name}.copying")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(loop.root / layout.TEACHER, beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)
    return [layout.PREVIOUS_TEACHER]
