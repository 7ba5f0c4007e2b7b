"""Plays faults by kind and seed, one after the other, and says what did not hold."""

from __future__ import annotations

import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.checker import check
from tests.faults.kinds import kinds
from tests.faults.place import DOMAIN, Place
from tests.faults.scene import CannotPlayError, Scene
from tests.faults.verified import verified

COUNTED = ("lost", "changed", "doubled", "mixed_up", "destroyed", "verify")


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
    verify: list[str] = field(default_factory=list)
    """What `ssl-loop verify` names that the kind does not expect, or cannot judge."""
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

    def in_words(self) -> str:
        """What did not hold, in one line."""
        found = [f"{name}: {'; '.join(getattr(self, name))}" for name in COUNTED]
        found = [line for line in found if not line.endswith(": ")]
        found += [f"stuck: {self.stuck.strip()[-300:]}"] if self.stuck else []
        found += [f"traceback: {text}" for text in self.tracebacks]
        return " | ".join(found).replace("\n", " ")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def play(place: Place, name: str, seed: int) -> Outcome:
    """One fault from beginning to end, in a folder of its own."""
    kind = kinds()[name]
    outcome = Outcome(kind=name, seed=seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        scene = Scene.begin(place, Path(folder), seed)
        try:
            kind.play(scene)
            for one in (scene, *scene.others):
                for invariant, found in check(one.root, one.people, _last_tag(one)):
                    getattr(outcome, invariant).extend(found)
                outcome.verify += verified(one, kind.named)
        except CannotPlayError as error:
            outcome.left_out = str(error)
        except Exception:  # of the harness itself: shown, and counted as not held
            outcome.stuck = traceback.format_exc()
        for one in (scene, *scene.others):
            outcome.stuck = outcome.stuck or one.stuck
            outcome.tracebacks += one.tracebacks
            outcome.remedies += one.remedies
            outcome.said += one.said
            outcome.struck += one.struck
            clean_up(one)
        outcome.struck += place.proxy.clear()
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def _last_tag(scene: Scene) -> str:
    """The newest merge, or the round where nothing was merged."""
    tags = scene.git("tag", "--merged", "HEAD", "--sort=creatordate").split()
    merged = [tag for tag in tags if tag.startswith(f"{DOMAIN}/") and tag.endswith("-labels")]
    return (merged or [f"{DOMAIN}/r0"])[-1]


def clean_up(scene: Scene) -> None:
    """The next fault finds a tool that runs and nothing of this one."""
    scene.leave()
    if scene.tool.process.poll() is not None:
        scene.tool.start()
    for project_id in scene.people.projects():
        scene.tool.delete(f"/api/projects/{project_id}/")
