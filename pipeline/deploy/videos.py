"""Frames of video files, by OpenCV. H height, W width, C = 3 colours (RGB)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"))
SHORT_BY_S = 1.0  # a header may count a little more than there is; more than so long was lost


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One frame of a video."""

    due_s: float
    """The time at which a frame was wanted; this is the first one not before it."""
    pixels_HWC: NDArray[np.uint8]
    """Upright; empty where it cannot be decoded."""


def require_decoder() -> None:
    """DataError with what to install where no library of this environment reads videos."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"videos need OpenCV, which does not load here ({error}); `pip install "
            "opencv-python-headless`, or cut the video into images by another tool"
        ) from None


def num_frames(path: Path, every_s: float) -> int:
    """About how many frames come, at least 1, by the header alone."""
    capture = _opened(path)
    if capture is None:
        return 1
    try:
        return max(1, math.ceil(_length_s(capture) / every_s))
    finally:
        capture.release()


def frames(path: Path, every_s: float, skip: Callable[[float], bool]) -> Iterator[Frame]:
    """Frames at 0, `every_s`, 2 `every_s` ... seconds, but for those to `skip`.

    DataError for what is no video, and after the last frame of one that ends before its header
    says.
    """
    require_decoder()
    capture = _opened(path)
    if capture is None:
        raise DataError(f"{path}: not a video that OpenCV reads; convert it, to MP4 for example")
    try:
        count, shown, seconds = 0, 0, _length_s(capture)
        now_s = 0.0
        while capture.grab():
            now_s = _time_s(capture, count)
            count += 1
            due_s = shown * every_s
            if now_s + 1e-6 < due_s:
                continue
            while (shown + 1) * every_s <= now_s + 1e-6:  # fewer frames than are wanted
                shown += 1
            due_s, shown = shown * every_s, shown + 1
            if not skip(due_s):
                yield Frame(due_s=due_s, pixels_HWC=_decoded(capture))
    finally:
        capture.release()
    if not count:
        raise DataError(f"{path}: a video without a frame that can be decoded")
    if now_s + SHORT_BY_S < seconds:
        raise DataError(
            f"{path}: damaged or truncated: ends after {now_s:.1f} s of {seconds:.1f} s"
        )


_NOTHING: NDArray[np.uint8] = np.empty((0, 0, 3), dtype=np.uint8)


def _opened(path: Path) -> Any:
    """A capture; None where it cannot be opened."""
    import cv2

    cv2.setLogLevel(0)  # damaged files are named by us, once
    capture = cv2.VideoCapture(str(path))
    return capture if capture.isOpened() else None


def _length_s(capture: Any) -> float:
    import cv2

    rate = capture.get(cv2.CAP_PROP_FPS)
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return count / rate if rate > 0 and count > 0 else 0.0


def _time_s(capture: Any, number: int) -> float:
    """Of the frame that was grabbed last, by the container; else by its number."""
    import cv2

    milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
    if milliseconds > 0 or number == 0:
        return milliseconds / 1000
    rate = capture.get(cv2.CAP_PROP_FPS)
    return number / rate if rate > 0 else float(number)


def _decoded(capture: Any) -> NDArray[np.uint8]:
    good, pixels_HWC = capture.retrieve()
    if not good:
        return _NOTHING
    return np.ascontiguousarray(pixels_HWC[:, :, ::-1])
