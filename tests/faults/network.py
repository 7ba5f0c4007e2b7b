"""Faults between the loop and its tool, while it sends a query and while it collects."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from tests.faults import proxy
from tests.faults.proxy import Act, Trouble
from tests.faults.scene import Scene

# Requests of a tick that sends a query, and of one that collects: about as many as there are.
SENDING, COLLECTING = 9, 2
TASKS = r"GET /api/tasks"

ACTS: dict[str, tuple[Act, str]] = {
    "dropped": (proxy.dropped, ""),
    "carried out, reply lost": (proxy.lost_reply, ""),
    "delayed": (proxy.delayed, ""),
    "later than the client waits": (proxy.late, ""),
    "arrives twice": (proxy.repeated, r"^(POST|PATCH)"),
    "truncated": (proxy.truncated, ""),
    "half a JSON": (proxy.half_a_json, ""),
    "413 of a proxy": (proxy.answered(413), r"^(POST|PATCH)"),
    "429": (proxy.answered(429, b'{"detail": "slow down"}', "application/json"), ""),
    "502 of a proxy": (proxy.answered(502), ""),
    "500 of the tool": (proxy.answered(500, b'{"detail": "x"}', "application/json"), ""),
    "a page with 200": (proxy.answered(200), ""),
    "an empty page with 200": (proxy.answered(200, b""), ""),
    "JSON of another shape": (proxy.other_shape, ""),
    "JSON without its fields": (proxy.fields_gone, ""),
    "null": (proxy.null, ""),
    "a total too high": (proxy.total_of(lambda total: total + 7), TASKS),
    "a total of zero": (proxy.total_of(lambda _: 0), TASKS),
    "a negative total": (proxy.total_of(lambda _: -1), TASKS),
    "an empty list of tasks": (proxy.empty_list, TASKS),
    "a list that lacks one task": (proxy.shortened, TASKS),
}


def trouble(scene: Scene, act: Act, fits: str, requests: int) -> Trouble:
    """Strikes once or several times in a row, from a random request on."""
    if fits:
        requests = 2 if requests == SENDING else 1  # of these there are fewer
    return Trouble(
        act,
        re.compile(fits),
        after=int(scene.rng.integers(requests)),
        times=int(scene.rng.integers(1, 4)),
    )


def while_sending(scene: Scene, act: Act, fits: str) -> None:
    scene.impatient = act is proxy.late
    scene.proxy.set(trouble(scene, act, fits, SENDING))
    scene.tick()
    scene.tick()
    scene.impatient = False
    scene.settle()


def while_collecting(scene: Scene, act: Act, fits: str) -> None:
    scene.publish_and_answer()
    scene.impatient = act is proxy.late
    scene.proxy.set(trouble(scene, act, fits, COLLECTING))
    scene.tick()
    scene.impatient = False
    scene.settle()


def while_waiting(scene: Scene, act: Act, fits: str) -> None:
    """Some have answered, the others do so after the fault."""
    scene.publish()
    scene.people.answer_all(scene.people.open_tasks()[:1])
    scene.proxy.set(trouble(scene, act, fits, COLLECTING))
    scene.tick()
    scene.settle()


PHASES: dict[str, Callable[..., None]] = {
    "while sending": while_sending,
    "while collecting": while_collecting,
    "while waiting": while_waiting,
}


def _fit(act: str, phase: str) -> bool:
    """Nothing is posted in later phases; the lies about tasks matter in all."""
    posts = ACTS[act][1].startswith("^(POST")
    return (
        phase == "while sending"
        or (not posts and phase == "while collecting")
        or (ACTS[act][1] == TASKS)
    )


KINDS: dict[str, Callable[[Scene], None]] = {
    f"{act}, {phase}": partial(play, act=ACTS[act][0], fits=ACTS[act][1])
    for act in ACTS
    for phase, play in PHASES.items()
    if _fit(act, phase)
}
