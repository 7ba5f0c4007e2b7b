"""Many annotators at once on one project, and the time that the hook's receiver takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from tests.faults.people import Mask, painted, pixels, truth
from tests.faults.proxy import Forward, Proxy, Reply, Request, Trouble


@dataclass
class Meter:
    """A proxy in front of the receiver that notes how long each hook took, and the answer."""

    receiver: str
    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self._proxy = Proxy(self.receiver)
        self._proxy.set(Trouble(self._time, times=10**9))

    def lead_here(self, tool: httpx.Client, project_id: int) -> None:
        """The project's hook comes through the meter from now on."""
        for hook in tool.get("/api/webhooks/", params={"project": project_id}).json():
            place = httpx.URL(hook["url"])
            metered = str(place.copy_with(port=self._proxy.server_port))
            # Label Studio empties the actions of a hook that is changed without them.
            changes = {"url": metered, "actions": hook["actions"]}
            tool.patch(f"/api/webhooks/{hook['id']}/", json=changes).raise_for_status()

    def _time(self, _: Request, forward: Forward) -> Reply | None:
        started = time.monotonic()
        reply = forward()
        self.seconds.append(time.monotonic() - started)
        self.refused += reply.status >= 400
        return reply


@dataclass
class Crowd:
    """`number` people who share the tasks of a project and answer as fast as the tool takes it."""

    tool: httpx.Client
    number: int
    answered: dict[int, Mask] = field(default_factory=dict)  # annotation's id -> what was painted
    seconds: list[float] = field(default_factory=list)  # that a person waited after Submit
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, tasks: Sequence[dict]) -> None:
        """All of them, each once."""
        painted(truth("0" * 64, 0))  # the encoder is loaded once, before it is needed
        with ThreadPoolExecutor(self.number) as pool:
            list(pool.map(self._answer, tasks))

    def _answer(self, task: dict) -> None:
        image = self.tool.get(task["data"]["image"]).raise_for_status().content
        mask_HW = truth(pixels(image), 0)
        body = {"result": painted(mask_HW), "lead_time": 3.0}
        started = time.monotonic()
        made = self.tool.post(f"/api/tasks/{task['id']}/annotations/", json=body)
        made.raise_for_status()
        with self._lock:
            self.seconds.append(time.monotonic() - started)
            self.answered[made.json()["id"]] = mask_HW
