"""Kills: of the tick at every seam and at random times, of the tool, and of several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from tests.faults.child import SEAMS
from tests.faults.place import DOMAIN
from tests.faults.scene import ROOT, Scene

UNTIL = f"merge:{DOMAIN}/r0-labels"
# The length of a tick that sends and of one that merges, about; kills at random strike within.
SENDING_S, MERGING_S = 5.0, 6.0
LIMIT_S = 300.0
# How often an undisturbed tick passes each seam, about: `python -m tests.faults.child` prints it.
_SENDING = {"request": 15, "program": 20, "commit of the ledger": 7}
_MERGING = {"request": 2, "program": 42, "commit of the ledger": 16, "rename": 18}
PASSED = {
    phase: {seam: n for seam in SEAMS for what, n in counts.items() if what in seam}
    for phase, counts in (("sending", _SENDING), ("merging", _MERGING))
}


def start(scene: Scene, seam: str = "-", number: int = 0) -> subprocess.Popen[str]:
    """A tick of its own process group; it dies at the seam."""
    argv = [sys.executable, "-m", "tests.faults.child", str(scene.root), seam, str(number), UNTIL]
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def at_a_seam(scene: Scene, seam: str, *, merging: bool) -> None:
    """The tick dies at a random one of its seams; the next ones carry on."""
    if merging:
        scene.publish_and_answer()
    number = int(scene.rng.integers(1, PASSED["merging" if merging else "sending"][seam] + 1))
    child = start(scene, seam, number)
    child.communicate(timeout=LIMIT_S)
    scene.struck += child.returncode == -signal.SIGKILL
    scene.settle()


def at_random(scene: Scene, *, merging: bool) -> None:
    """The tick's whole group dies at a random time: with its dvc, git and stages."""
    if merging:
        scene.publish_and_answer()
    child = start(scene)
    time.sleep(float(scene.rng.uniform(0.5, 1.0 + (MERGING_S if merging else SENDING_S))))
    scene.struck += child.poll() is None
    _kill(child)
    scene.settle()


def _kill(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def again_and_again(scene: Scene) -> None:
    """Four ticks die before one is let through."""
    scene.publish_and_answer()
    for _ in range(4):
        child = start(scene)
        time.sleep(float(scene.rng.uniform(1.0, MERGING_S)))
        _kill(child)
        scene.struck += 1
    scene.settle()


def tool_at_random(scene: Scene, *, merging: bool) -> None:
    """The tool dies during a tick, and is started again."""
    if merging:
        scene.publish_and_answer()
    killer = threading.Timer(float(scene.rng.uniform(0.0, 1.0)), scene.tool.kill)
    killer.start()
    scene.tick()
    killer.join()
    scene.struck += 1
    scene.tick()  # says that it cannot be reached
    scene.tool.start()
    scene.settle()


def tool_while_people_submit(scene: Scene) -> None:
    """Answers up to the kill are there, the one under way is or is not, the rest come later."""
    scene.publish()
    first, *_ = scene.people.open_tasks()
    scene.people.answer(first, 0)
    scene.tool.kill()
    scene.struck += 1
    scene.tool.start()
    scene.tick()
    scene.settle()


def two_ticks(scene: Scene, *, merging: bool, kill: bool = False) -> None:
    """Two at once, by hand and by schedule; one of them may die."""
    if merging:
        scene.publish_and_answer()
    children = [start(scene) for _ in range(2)]
    scene.struck += 1
    if kill:
        time.sleep(float(scene.rng.uniform(1.0, MERGING_S)))
        _kill(children[int(scene.rng.integers(2))])
    for child in children:
        child.communicate(timeout=LIMIT_S)
    scene.settle()


KINDS: dict[str, Callable[[Scene], None]] = {
    **{
        f"the tick, {seam}, {phase}": partial(at_a_seam, seam=seam, merging=phase == "merging")
        for phase, passed in PASSED.items()
        for seam in passed
    },
    "the tick's group at random, sending": partial(at_random, merging=False),
    "the tick's group at random, merging": partial(at_random, merging=True),
    "the tick's group again and again": again_and_again,
    "the tool, while the tick sends": partial(tool_at_random, merging=False),
    "the tool, while the tick collects": partial(tool_at_random, merging=True),
    "the tool, while people submit": tool_while_people_submit,
    "two ticks at once, sending": partial(two_ticks, merging=False),
    "two ticks at once, merging": partial(two_ticks, merging=True),
    "two ticks at once, one dies": partial(two_ticks, merging=True, kill=True),
}
