"""The process that turns Label Studio's clicks into masks: `ssl-loop up` starts it.

`python -m flows.services.assist_server --workspace DIR --port N`. torch is imported here, behind
the first answer, and nowhere else in `flows`; whatever happens here, people go on with the brush.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from flows.annotators.assist.clicked_masks import ClickedMasks
from flows.annotators.assist.current_engine import CurrentEngine, QueryPreparer, Ready
from flows.annotators.assist.ml_backend import MlBackend
from flows.annotators.assist.task_images import TaskImages, signature
from flows.services.daemon import HOST
from flows.services.relay import say
from flows.workspace.credentials import credentials
from flows.workspace.identity import require_identity
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.runtime.torch_settings import settle_torch


def teacher_ready(root: Path) -> Ready:
    """The teacher's engine and the classes it knows, as params.yaml and models/teacher are now."""
    settle_torch()
    from pipeline.clicks.teacher_engine import TeacherEngine

    params = Workspace(root).params()
    return Ready(engine=TeacherEngine(root, params), class_names=tuple(params.classes))


def made_of(root: Path) -> Any:
    """What an engine of now would read; None while there is no teacher: before the first round, and
    while one is trained, when the engine of the last goes on."""
    folder = root / layout.TEACHER
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    params = signature(root / layout.PARAMS)
    return (params, [(file.name, signature(file)) for file in files]) if files and params else None


def main() -> int:
    """Serve until ended."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.services.assist_server", description=__doc__
    )
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    root = args.workspace.resolve()
    images = TaskImages(root, require_identity(root).id)
    current = CurrentEngine(lambda: teacher_ready(root), lambda: made_of(root), say)
    masks = ClickedMasks(root, images, current, say)
    QueryPreparer(current, images, lambda: signature(root / layout.QUERY), say).start()
    secret = credentials(root).webhook_secret
    backend = MlBackend(secret=secret, predict=masks.predict, say=say)
    asyncio.run(backend.serve(HOST, args.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
