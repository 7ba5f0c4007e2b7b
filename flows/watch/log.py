"""Append-only log of a watched folder, one JSON line per image and alarm.

The lines are the whole state of a watch. A killed watch goes on from them: reading them again gives
the state that an uninterrupted watch has in memory, since both are made by `WatchLog.take`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from pipeline import layout
from pipeline.drift.change_test import Alarm, ChangeDetector
from pipeline.errors import WorkspaceError
from pipeline.files import append
from pipeline.reading import Document, read

Line = dict[str, Any]
Version = tuple[str, int, int]  # name, bytes, time of change


_REMEDY = "move the file away: the folder is then looked at as if for the first time"


class _Reference(TypedDict):
    fingerprint: str
    false_alarm_every: Annotated[float, Field(gt=0)]
    window: Annotated[int, Field(gt=0)]


class _LeftOut(TypedDict):
    name: str
    size: int
    mtime_ns: int


class _Image(_LeftOut):
    sha256: str
    at: str
    domain: str
    p: float | list[float]


class _Raised(TypedDict):
    shift: str


class _Opening(_Raised):
    domain: str


_LINES: dict[str, Any] = {
    "reference": _Reference,
    "image": _Image,
    "left_out": _LeftOut,
    "raised": _Raised,
    "opening": _Opening,
    "opened": _Opening,
}
"""By what a line "is": the keys that are read of it."""


@dataclass(frozen=True, kw_only=True)
class ShiftAlarm:
    """An alarm: which images raised it, and when."""

    key: str
    at: str
    """When the image that raised it was scored, ISO 8601 in UTC."""
    image: str
    """The image that raised it."""
    since: str
    """The image where the change is most likely to have begun."""
    num_images: int
    """From that one to the one that raised it."""
    nearest_domain: str
    suspicion: float
    first: int
    """Position of `since` among the images scored with this reference."""


@dataclass(kw_only=True)
class WatchLog:
    """The lines of one folder, and what follows from them."""

    path: Path
    folder: Path
    fingerprint: str = ""
    """Hash of the reference that images are compared with now."""
    detector: ChangeDetector | None = None
    images: list[Line] = field(default_factory=list)
    """Lines of the images scored with this reference, in order."""
    versions: set[Version] = field(default_factory=set)
    """Files that need no second look."""
    known: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a scored image -> its name."""
    shifts: list[ShiftAlarm] = field(default_factory=list)
    lasting: ShiftAlarm | None = None
    """The shift that goes on."""
    raised: set[str] = field(default_factory=set)
    opening: dict[str, str] = field(default_factory=dict)
    """Key of a shift -> the domain that is being opened for it."""
    opened: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    num_bytes: int = 0
    """Of the file, as read and written here."""

    @classmethod
    def of(cls, root: Path, folder: Path) -> WatchLog:
        """The log of `folder` in a workspace; a line that a crash cut short is removed."""
        folder = folder.resolve()
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        log = cls(path=root / layout.WATCH / f"{name}.jsonl", folder=folder)
        if log.path.exists():
            whole = read(log.path, remedy=_REMEDY, error=WorkspaceError).raw
            end = whole.rfind(b"\n") + 1
            if end < len(whole):
                os.truncate(log.path, end)
            log.num_bytes = end
            for number, text in enumerate(whole[:end].splitlines(), start=1):
                log._read(Document(raw=text, source=f"{log.path}:{number}", remedy=_REMEDY))
        return log

    def _read(self, document: Document) -> None:
        line = document.json(Line)
        kind = line.get("is")
        if kind not in _LINES:
            raise document.wrong(f"is: {str(kind)[:40]!r}, expected one of {', '.join(_LINES)}")
        document.typed(line, _LINES[kind])
        if kind == "image" and self.detector is None:
            raise document.wrong("an image before any reference")
        try:
            self.take(line)
        except ValueError as error:  # of the detector: p-values that are none
            raise document.wrong(str(error)) from None

    def add(self, lines: Sequence[Line]) -> None:
        """Write lines, in one go and to the disk; then they count."""
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        append(self.path, text.encode("ascii"))
        self.num_bytes += len(text)
        for line in lines:
            self.take(line)

    def take(self, line: Line) -> None:
        """Apply one line to the state."""
        self.counts[line["is"]] += 1
        if line["is"] == "reference":
            self.fingerprint = line["fingerprint"]
            self.detector = ChangeDetector(
                false_alarm_every=line["false_alarm_every"], window=line["window"]
            )
            self.images, self.lasting = [], None
        elif line["is"] == "image":
            self._take_image(line)
        elif line["is"] == "left_out":
            self.versions.add(version_of(line))
        elif line["is"] == "raised":
            self.raised.add(line["shift"])
        else:
            {"opening": self.opening, "opened": self.opened}[line["is"]][line["shift"]] = line[
                "domain"
            ]

    def _take_image(self, line: Line) -> None:
        assert self.detector is not None  # a reference line comes first
        self.versions.add(version_of(line))
        self.known[line["sha256"]] = line["name"]
        self.images.append(line)
        # One number in lines from before scales were looked at one by one.
        if alarm := self.detector.add(np.atleast_1d(line["p"])):
            self.lasting = self._shift(alarm)
            self.shifts.append(self.lasting)
        elif self.detector.alarm is None:
            self.lasting = None

    def _shift(self, alarm: Alarm) -> ShiftAlarm:
        since = self.images[alarm.since :]
        nearest = Counter(line["domain"] for line in since)
        return ShiftAlarm(
            key=f"{self.path.stem}/{len(self.shifts) + 1}",
            at=since[-1]["at"],
            image=since[-1]["name"],
            since=since[0]["name"],
            num_images=len(since),
            nearest_domain=min(nearest, key=lambda name: (-nearest[name], name)),
            suspicion=alarm.suspicion,
            first=alarm.since,
        )


def version_of(line: Line) -> Version:
    """Identity of a file, to tell it from another that had its name before."""
    return line["name"], line["size"], line["mtime_ns"]
