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


def teacher_to_hand_over(loop: Loop) -> list[Path]:
    """[models/teacher], to be brought by `dvc_checkout` and then to `hand_over_teacher`.

    As HEAD has it: a round that was begun since may have trained another one. Nothing without
    adapt.warm_start, or before the first round.
    """
    workspace = loop.workspace
    if not loop.params.adapt.warm_start or not workspace.exists_at("HEAD", DVC_LOCK):
        return []
    workspace.checkout_paths("HEAD", [DVC_LOCK])
    return [layout.TEACHER]


def hand_over_teacher(root: Path, teacher: list[Path]) -> list[Path]:
    """Copy it to previous/teacher; what is to be `dvc add`ed and committed.

    Killed before the commit, the step that calls it does it again.
    """
    for source in teacher:
        target = root / layout.PREVIOUS_TEACHER
        beside = target.with_name(f"{target.name}.copying")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(root / source, beside)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    return [layout.PREVIOUS_TEACHER for _ in teacher]
