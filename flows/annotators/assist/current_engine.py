"""The engine of the newest teacher, renewed behind the clicks and never while one waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flows.annotators.assist.task_images import TaskImages
from pipeline.clicks.mask_engine import MaskEngine
from pipeline.errors import ServiceError, SslLoopError

LOOK_EVERY_S = 2.0
TRY_AGAIN_S = 30.0  # after an engine could not be made of files that may be half written
FIRST_S = 45.0  # for the first engine: torch takes 20 s to import on a busy machine


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An engine and the classes that its indices are of."""

    engine: MaskEngine
    class_names: tuple[str, ...]


class CurrentEngine:
    """The newest engine that could be made; safe from several threads."""

    def __init__(
        self,
        make: Callable[[], Ready],
        made_of: Callable[[], Any],
        say: Callable[[str], object],
    ) -> None:
        """`made_of` says what `make` would read now: another value means another engine; None
        that nothing new can be made just now. `say` writes a line into the log."""
        self._make, self._made_of, self._say = make, made_of, say
        self._changed = threading.Condition()
        self._ready: Ready | None = None
        self._of: Any = None
        self._failed_of: Any = None
        self._again_at = float("-inf")
        self._clicking = 0

    def get(self, timeout_s: float = FIRST_S) -> Ready:
        """The engine; ServiceError where there is none after waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is not None, timeout_s)
            if self._ready is None:
                raise ServiceError("click to mask is not ready yet; try again in a minute")
            return self._ready

    def renew(self) -> None:
        """Make the engine of what is there now, where that is another; the old one stays meanwhile,
        and for good where none can be made."""
        of = self._made_of()
        waits = of == self._failed_of and time.monotonic() < self._again_at
        if of is None or of == self._of or waits:
            return
        try:
            ready = self._make()
        except (SslLoopError, OSError) as error:
            self._say(f"no engine of click to mask: {error}")
            self._failed_of, self._again_at = of, time.monotonic() + TRY_AGAIN_S
            return
        with self._changed:
            self._ready, self._of = ready, of
            self._changed.notify_all()
        self._say(f"click to mask: engine {ready.engine.name}")

    @contextmanager
    def clicking(self) -> Iterator[None]:
        """While somebody waits for a mask, no image is prepared."""
        with self._changed:
            self._clicking += 1
        try:
            yield
        finally:
            with self._changed:
                self._clicking -= 1
                self._changed.notify_all()

    def wait_for_quiet(self) -> None:
        """Return once nobody waits for a mask."""
        with self._changed:
            self._changed.wait_for(lambda: not self._clicking)


class QueryPreparer(threading.Thread):
    """Renews the engine, and shows it the images of the query before anybody clicks on them."""

    def __init__(
        self,
        current: CurrentEngine,
        images: TaskImages,
        query: Callable[[], Any],
        say: Callable[[str], object],
    ) -> None:
        """`query` gives another value when query.csv has changed. `start` begins."""
        super().__init__(name="preparer", daemon=True)
        self._current, self._images, self._query, self._say = current, images, query, say
        self._done: tuple[Any, int] | None = None

    def run(self) -> None:
        """For ever."""
        while True:
            try:
                self.look()
            except Exception as error:  # whatever it was, clicks need the next engine
                self._say(f"images are not prepared: {error}")
            time.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Renew the engine, and prepare what query.csv asks for where either is new."""
        self._current.renew()
        engine = self._current.get(timeout_s=0.0).engine
        at = (self._query(), id(engine))
        if at == self._done:
            return
        count, started = 0, time.monotonic()
        for path in self._images.asked():
            self._current.wait_for_quiet()
            try:
                engine.prepare(path)
                count += 1
            except (SslLoopError, OSError) as error:
                self._say(f"{path} is not prepared: {error}")
            if self._query() != at[0]:
                return  # another query: its images first
        self._done = at
        if count:
            self._say(f"prepared {count} images in {time.monotonic() - started:.0f} s")
