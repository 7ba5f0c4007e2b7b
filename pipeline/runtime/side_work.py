"""Work on what was predicted, on threads of its own beside the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

Result = TypeVar("Result")


class SideWork(Generic[Result]):
    """Scores and writes while the next image is looked at: PNGs are packed without Python's lock.

    A few at a time, so that a slow disk does not fill the memory, and none of more pixels together
    than MOST_PIXELS while another image is looked at; results come in order.
    """

    MOST = 4
    MOST_PIXELS = 1 << 26

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2)
        self._under_way: deque[tuple[Future[list[Result]], int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def start(self, work: Callable[[], list[Result]], num_pixels: int) -> list[Result]:
        """Begin with it; what older work gave that had to make room, or raise what it raised."""
        done = self._down_to(self.MOST - 1, self.MOST_PIXELS - num_pixels)
        self._under_way.append((self._threads.submit(work), num_pixels))
        return done + self._down_to(self.MOST, self.MOST_PIXELS)

    def rest(self) -> list[Result]:
        """What nobody had yet."""
        return self._down_to(0, 0)

    def _down_to(self, left: int, pixels: int) -> list[Result]:
        done: list[Result] = []
        while len(self._under_way) > left or sum(each for _, each in self._under_way) > pixels:
            if not self._under_way:
                break
            done += self._under_way.popleft()[0].result()
        return done
