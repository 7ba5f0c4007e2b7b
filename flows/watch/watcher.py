"""One look at a watched folder: score new images, raise an alarm when they are of no known domain.

Nothing is kept in memory between two looks but what costs time to make: flows/watch/log.py has the
state, so that a look may be killed anywhere and the next one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from flows.loop import Loop
from flows.watch import known_domains
from flows.watch.alarm import open_domain, tell
from flows.watch.folder_scan import SETTLED_S, Arrival, ScannedFile, arrivals, inspect
from flows.watch.log import Line, ShiftAlarm, WatchLog
from pipeline import layout
from pipeline.errors import ConfigError, WorkspaceError
from pipeline.files import alone

BATCH = 16  # images whose lines are written together
LOCK = layout.WATCH / "lock"
TURN_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Looked:
    """Result of one look; as text, lines for people."""

    folder: str
    scored: int
    """Images that this look scored."""
    scored_in_all: int
    left_out: dict[str, str]
    """Names that are not scored, each with the reason; said once."""
    waiting: tuple[str, ...]
    """Files that may still be being written."""
    suspicion: float
    threshold: float
    shifts: tuple[ShiftAlarm, ...]
    """Alarms that were raised now."""
    since: str | None
    """First image of the shift that lasts; else None."""
    opened: str | None
    """The domain that was opened."""

    @property
    def news(self) -> bool:
        """Whether this look found anything that the one before did not report."""
        return bool(self.scored or self.left_out or self.shifts or self.opened)

    def __str__(self) -> str:
        """One line, and one for each file left out."""
        state = f"suspicion {self.suspicion:.0f} of {self.threshold:.0f}"
        if self.since:
            state = f"no known domain since {self.since}"
        text = f"{self.folder}: {self.scored} new image(s), {self.scored_in_all} in all; {state}"
        if self.waiting:
            text += f"; {len(self.waiting)} still being written"
        return "\n  ".join([text, *(f"{n}: left out: {why}" for n, why in self.left_out.items())])


@dataclass(kw_only=True)
class Watcher:
    """Drift detector of one watched folder."""

    loop: Loop
    folder: Path
    open_domain: bool = False
    """Whether a shift opens a domain, whatever params.yaml says."""
    show: Callable[[Loop], object] = field(default=lambda loop: None)
    """Called after an alarm or an opened domain was reported, for example to render the report."""
    clock: Callable[[], float] = time.time
    _known: tuple[str, known_domains.Known] | None = field(default=None)
    _log: WatchLog | None = field(default=None)

    def look(self) -> Looked:
        """Score what is new, then raise what was not raised; one look in a workspace at a time.

        ServiceError when Prefect did not take an event: the next look sends it again.
        """
        with _turn(self.loop.root / LOCK):
            log = self._read_log()
            before = log.counts["image"], len(log.shifts)
            left_out, waiting = self._score_new(log)
            for shift in log.shifts:
                if shift.key not in log.raised:
                    tell(self.loop, log, shift)
                    self.show(self.loop)
            opened = open_domain(self.loop, log) if self._opens() else None
            if opened:
                self.show(self.loop)
        return Looked(
            folder=str(log.folder),
            scored=log.counts["image"] - before[0],
            scored_in_all=log.counts["image"],
            left_out=left_out,
            waiting=waiting,
            suspicion=log.detector.suspicion if log.detector else 0.0,
            threshold=self.loop.read_params().watch.false_alarm_every,
            shifts=tuple(log.shifts[before[1] :]),
            since=log.lasting.since if log.lasting else None,
            opened=opened,
        )

    def _read_log(self) -> WatchLog:
        """The log, read again only if another process wrote to it, since a long one takes time."""
        log = self._log
        if log is None or not log.path.exists() or log.path.stat().st_size != log.num_bytes:
            log = self._log = WatchLog.of(self.loop.root, self.folder)
        return log

    def _opens(self) -> bool:
        return self.open_domain or self.loop.read_params().watch.open_domain

    def _score_new(self, log: WatchLog) -> tuple[dict[str, str], tuple[str, ...]]:
        """Score new images; names left out with the reason, and names still being written."""
        new = arrivals(self.folder, log.versions, self.clock())
        if any(not arrival.settled for arrival in new):
            time.sleep(SETTLED_S)  # mostly they are whole by then
            new = arrivals(self.folder, log.versions, self.clock())
        settled = [arrival for arrival in new if arrival.settled]
        waiting = [arrival.path.name for arrival in new if not arrival.settled]
        left_out: dict[str, str] = {}
        if settled:
            known = self._compared_with(log)
        for first in range(0, len(settled), BATCH):
            lines: list[Line] = []
            for arrival in settled[first : first + BATCH]:
                line = self._line(arrival, known, log, lines)
                if line is None:
                    waiting.append(arrival.path.name)
                    continue
                lines.append(line)
                if line["is"] == "left_out":
                    left_out[line["name"]] = line["why"]
            if lines:
                log.add(lines)
        return left_out, tuple(waiting)

    def _compared_with(self, log: WatchLog) -> known_domains.Known:
        """The known domains; suspicion against others than those of the last look is dropped."""
        now = known_domains.fingerprint(self.loop)
        if self._known is None or self._known[0] != now:
            self._known = now, known_domains.known(self.loop)
        if log.fingerprint != now:
            watch = self.loop.read_params().watch
            line = {
                "is": "reference",
                "fingerprint": now,
                "domains": [reference.domain for reference in self._known[1].references],
                "false_alarm_every": watch.false_alarm_every,
                "window": watch.window,
                "at": _now(),
            }
            log.add([line])
        return self._known[1]

    def _line(
        self, arrival: Arrival, known: known_domains.Known, log: WatchLog, lines: list[Line]
    ) -> Line | None:
        limit = self.loop.read_params().loop.max_megapixels
        content = inspect(arrival, known.usual_sharpness, limit)
        if content is None:
            return None
        name, size, mtime_ns = arrival.version
        line = {"name": name, "size": size, "mtime_ns": mtime_ns, "sha256": content.sha256}
        line["at"] = _now()
        why = content.why or _duplicate(content, log, lines)
        if why:
            return {"is": "left_out", **line, "why": why}
        fit = known.fit(arrival.path)
        return {"is": "image", **line, "p": fit.p_values, "domain": fit.domain}


def watched_folder(loop: Loop) -> Path:
    """What `watch.folder` names, from the workspace; ConfigError where it names none."""
    folder = loop.read_params().watch.folder
    if folder is None:
        raise ConfigError(
            "watch.folder is null; write the folder that images are dropped into in params.yaml, "
            "or say it: ssl-loop watch DIR"
        )
    return loop.root / Path(folder).expanduser()


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """Hold the lock, waiting for another process's look; WorkspaceError after TURN_S."""
    busy = f"{lock.parent}: another watch has been at work for {TURN_S:.0f} s; is it stuck?"
    deadline = time.monotonic() + TURN_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(alone(lock, busy))
                break
            except WorkspaceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield


def _duplicate(content: ScannedFile, log: WatchLog, lines: list[Line]) -> str:
    """Why the image is no new observation: the same bytes under another name; "" if it is one."""
    here = {line["sha256"]: line["name"] for line in lines if line["is"] == "image"}
    other = log.known.get(content.sha256) or here.get(content.sha256)
    return f"duplicate: the same bytes as {other}" if other else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
