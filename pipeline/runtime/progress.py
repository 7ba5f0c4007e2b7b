"""Progress of long actions on stderr: a bar on a terminal, plain lines elsewhere.

A log that is read by line (Prefect's, a file) gets a line every few seconds instead of a bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

PLAIN_EVERY_S = 5.0
BAR_EVERY_S = 0.25
SLOW, LONG_S = 0.1, 600.0  # a rate below is told as seconds each, a time above in minutes


class Progress:
    """Counts up to `total`; shows rate, time left and a note."""

    def __init__(
        self, label: str, total: int, *, done: int = 0, stream: TextIO | None = None
    ) -> None:
        """`done` were finished before (a resumed run): they do not count for the rate."""
        self._label, self._total, self._done, self._first = label, total, done, done
        self._stream = stream or sys.stderr
        self._started = self._shown = time.monotonic()
        self._bar = self._new_bar() if self._stream.isatty() else None

    def advance(self, count: int = 1, note: Callable[[], str] | None = None) -> None:
        """`count` more are done; `note` is asked for only when something is shown."""
        self._done += count
        now = time.monotonic()
        every_s = PLAIN_EVERY_S if self._bar is None else BAR_EVERY_S
        if now - self._shown < every_s and self._done < self._total:
            return
        self._shown = now
        text = note() if note else ""
        if self._bar is None:
            self._say(now, text)
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(self._done - self._bar.n)

    def _new_bar(self) -> tqdm[None]:
        return tqdm(
            desc=self._label,
            total=self._total,
            initial=self._done,
            file=self._stream,
            dynamic_ncols=True,
        )

    def _say(self, now: float, text: str) -> None:
        rate = (self._done - self._first) / max(now - self._started, 1e-9)
        left_s = (self._total - self._done) / rate if rate else 0.0
        speed = f"{rate:.1f}/s" if rate > SLOW or not rate else f"{1 / rate:.0f} s each"
        left = f"{left_s:.0f} s left" if left_s < LONG_S else f"{left_s / 60:.0f} min left"
        facts = [speed, left, *([text] if text else [])]
        say(f"{self._label}: {self._done}/{self._total}, {', '.join(facts)}", self._stream)

    def __enter__(self) -> Progress:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def say(text: str, stream: TextIO | None = None) -> None:
    """One line on stderr, at once."""
    print(text, file=stream or sys.stderr, flush=True)
