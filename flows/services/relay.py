"""From hooks to events: one thread that tells Prefect, so that nobody who sends a hook waits.

A burst of hooks is one event. Its last hook may have met a running tick, whose successor Prefect
cancels; so one more event follows when that tick is over. What cannot be delivered is logged, and
the schedule does without it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

QUIET_S = 1.0
AGAIN_S = 12.0
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # between tries: Prefect takes seconds to restart

Send = Callable[[dict[str, Any]], None]


def say(line: str) -> None:
    """Write a line of the receiver's log."""
    moment = datetime.now().astimezone().isoformat(timespec="seconds")
    print(f"{moment} {line}", file=sys.stderr, flush=True)


class Relay:
    """Posts at most one event per QUIET_S, and one more AGAIN_S after the last hook."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._next: dict[str, Any] | None = None
        self._again: dict[str, Any] | None = None
        self._again_at = self._quiet_until = float("-inf")
        threading.Thread(target=self._run, name="relay", daemon=True).start()

    def hook(self, payload: dict[str, Any]) -> None:
        """Take a hook; returns at once."""
        with self._changed:
            now = time.monotonic()
            self._again, self._again_at = payload | {"again": True}, now + AGAIN_S
            if now >= self._quiet_until:
                self._next, self._quiet_until = payload, now + QUIET_S
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (payload := self._due()) is None:
                    waits = self._again_at - time.monotonic() if self._again else None
                    self._changed.wait(waits)
            self._post(payload)

    def _due(self) -> dict[str, Any] | None:
        payload = None
        if self._next is not None:
            payload, self._next = self._next, None
        elif self._again is not None and time.monotonic() >= self._again_at:
            payload, self._again = self._again, None
        return payload

    def _post(self, payload: dict[str, Any]) -> None:
        for pause_s in (*PAUSES_S, None):
            try:
                return self._send(payload)
            except Exception as error:  # whatever it was, the next hook needs this thread
                if pause_s is None:
                    say(f"an event was not delivered, the schedule will do: {error}")
                else:
                    time.sleep(pause_s)
        return None
