"""Plays faults by kind and seed, one after the other, and says what did not hold."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.checker import check
from tests.faults.kinds import kinds
from tests.faults.place import DOMAIN, Place
from tests.faults.scene import Scene

COUNTED = ("lost", "changed", "doubled", "mixed_up", "destroyed")


@dataclass
class Outcome:
    """What came of one fault; everything is empty when all held."""

    kind: str
    seed: int
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    mixed_up: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    stuck: str = ""
    """What was said last, when nothing moved any more and no message mended it."""
    tracebacks: list[str] = field(default_factory=list)
    struck: int = 0
    remedies: list[str] = field(default_factory=list)
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)
    left_out: str = ""
    """Why this machine cannot play it."""

    @property
    def held(self) -> bool:
        return not (self.stuck or self.tracebacks or any(getattr(self, n) for n in COUNTED))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CannotPlayError(Exception):
    """This machine lacks what the fault needs; says what."""


def play(place: Place, name: str, seed: int) -> Outcome:
    """One fault from beginning to end, in a folder of its own."""
    kind = kinds()[name]
    outcome = Outcome(kind=name, seed=seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        scene = Scene.begin(place, Path(folder), seed)
        try:
            kind.play(scene)
            for invariant, found in check(scene.root, scene.people, _last_tag(scene)):
                setattr(outcome, invariant, found)
        except CannotPlayError as error:
            outcome.left_out = str(error)
        except Exception:  # of the harness itself: shown, and counted as not held
            outcome.stuck = traceback.format_exc()
        outcome.stuck = outcome.stuck or scene.stuck
        outcome.tracebacks, outcome.remedies = scene.tracebacks, scene.remedies
        outcome.struck, outcome.said = scene.struck + place.proxy.clear(), scene.said
        clean_up(scene)
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def _last_tag(scene: Scene) -> str:
    """The newest merge, or the round where nothing was merged."""
    tags = scene.git("tag", "--merged", "HEAD", "--sort=creatordate").split()
    merged = [tag for tag in tags if tag.startswith(f"{DOMAIN}/") and tag.endswith("-labels")]
    return (merged or [f"{DOMAIN}/r0"])[-1]


def clean_up(scene: Scene) -> None:
    """The next fault finds a tool that runs and nothing of this one."""
    if scene.tool.process.poll() is not None:
        scene.tool.start()
    for project_id in scene.people.projects():
        scene.tool.delete(f"/api/projects/{project_id}/")
    shutil.rmtree(scene.root, ignore_errors=True)
