"""Kills of what `ssl-loop up` starts, while ticks run as flows: receiver, worker, Prefect server.

Each dies by SIGKILL at a random time, and nothing but `ssl-loop up` brings it back; then people and
the services alone go on to the end of the campaign.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from flows.annotators.annotator import Project
from flows.loop import open_loop
from flows.processes.command import wait_until
from flows.services import prefect_server, stack, webhook
from flows.services.label_studio_server import free_port
from flows.workspace.credentials import credentials
from tests.faults.place import ASKED, DOMAIN
from tests.faults.scene import Scene
from tests.support.processes import kill_family

SCHEDULE_S, NO_SCHEDULE_S = 5, 3600
RUN_S = 8.0  # of a tick as a flow, about: kills strike within
LIMIT_S = 240.0  # a guard against hanging
END = f"{DOMAIN}/final"


@contextlib.contextmanager
def served(scene: Scene, schedule_s: int) -> Iterator[Callable[[], None]]:
    """The workspace's services, without a Label Studio of its own; yields what `up` does."""
    # The campaign ends with these answers, and with it all that ticks have to do.
    scene.workspace.write_params({"loop": {"budget": ASKED}})

    def up() -> None:
        scene.said += stack.up(scene.root, schedule_s=schedule_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "PREFECT_PORT", free_port())
        patch.setattr(stack, "HOOK_PORT", free_port())
        try:
            up()
            yield up
        finally:
            scene.said.append(stack.last_line(scene.root))
            list(stack.down(scene.root))


def kill(scene: Scene, name: str) -> None:
    """The service, with or without what it started, as the seed says."""
    daemon = stack.read_daemons(scene.root)[name]
    kill_family(daemon.pid, children=scene.rng.random() < 0.5)
    wait_until(lambda: not daemon.alive, LIMIT_S)
    scene.struck += 1


def running(scene: Scene) -> bool:
    """Whether a tick runs as a flow; False also where Prefect cannot say."""
    api = prefect_server.api(scene.root)
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    return bool(api and prefect_server.request("POST", api, "/flow_runs/filter", body))


def await_end(scene: Scene) -> None:
    """The campaign ends by services and people alone; otherwise it is stuck."""

    def ended() -> bool:
        scene.people.answer_all()
        return bool(scene.git("tag", "--list", END)) and not running(scene)

    if not wait_until(ended, LIMIT_S, every_s=1.0):
        log = stack.log_of(scene.root, stack.WORKER)
        scene.stuck = f"no {END} after {LIMIT_S:.0f} s: {stack.tail(log, 30)}"


def while_a_tick_runs(scene: Scene, name: str) -> None:
    """The first tick sends; the seed says how far it, or the one that merges, has come."""
    merging = scene.rng.random() < 0.5
    if merging:
        scene.publish_and_answer()
    with served(scene, SCHEDULE_S) as up:
        wait_until(lambda: running(scene), LIMIT_S, every_s=0.1)
        time.sleep(float(scene.rng.uniform(0.0, RUN_S)))
        kill(scene, name)
        scene.people.answer_all()
        up()
        await_end(scene)


def receiver(scene: Scene, *, last_before: bool) -> None:
    """Dies while people submit; the schedule, or the next hook after `up`, makes up for it."""
    scene.publish()
    with served(scene, SCHEDULE_S if last_before else NO_SCHEDULE_S) as up:
        lead_hooks(scene)
        *tasks, last = scene.people.open_tasks()
        for task in tasks:
            time.sleep(float(scene.rng.exponential(1.0)))
            scene.people.answer(task)
        time.sleep(float(scene.rng.exponential(1.0)))
        kill(scene, stack.HOOK)
        if last_before:
            scene.people.answer(last)  # nobody is told of it
        up()
        if not last_before:
            scene.people.answer(last)
        await_end(scene)


def lead_hooks(scene: Scene) -> None:
    """As for a Label Studio of the workspace's own: the tool tells the receiver of answers."""
    url = stack.read_daemons(scene.root)[stack.HOOK].url + webhook.PATH
    header = {webhook.SECRET_HEADER: credentials(scene.root).webhook_secret}
    with open_loop(scene.root, log=scene.said.append) as loop:
        project: Project | None = loop.known_project(DOMAIN, loop.read_params().classes)
        assert project is not None
        loop.annotator.ensure_webhook(project, url, header)


KINDS: dict[str, Callable[[Scene], None]] = {
    "the receiver, while hooks come": partial(receiver, last_before=True),
    "the receiver, before the last hook": partial(receiver, last_before=False),
    "the worker, while a tick runs": partial(while_a_tick_runs, name=stack.WORKER),
    "the Prefect server, while a tick runs": partial(while_a_tick_runs, name=stack.PREFECT),
}
