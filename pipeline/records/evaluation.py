"""`metrics/evaluation.json`: what the stage evaluate measured, as every later step reads it."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from pipeline.reading import Content, content_of

_OPEN: Any = {"extra": "allow"}  # for pydantic: calibration and whatever comes later stay


class Judged(TypedDict):
    """A model on the images of one split of one domain."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    miou: float | None
    """In [0, 1]; None = not measurable."""
    num_images: int
    iou: NotRequired[dict[str, float | None]]
    """By class."""


class Evaluation(TypedDict):
    """The whole file."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    labelled: int
    annotated_by_domain: dict[str, int]
    baseline: dict[str, dict[str, Judged]]
    """By domain and split."""
    teacher: dict[str, dict[str, Judged]]
    transductive: NotRequired[bool]
    calibration: NotRequired[dict[str, Any] | None]


def parse_evaluation(
    content: Content, *, source: str = "metrics/evaluation.json"
) -> dict[str, Any]:
    """The facts of the file; DataError names the key that is wrong."""
    return {**content_of(content, source).json(Evaluation)}
