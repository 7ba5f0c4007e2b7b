"""What people do: all of it has to be found, under its image, and the right one has to count."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.people import painted, truth
from tests.faults.scene import Scene


def plain(scene: Scene) -> None:
    """Nothing goes wrong at all: the harness itself is right."""
    scene.publish_and_answer()
    scene.settle()


KINDS: dict[str, Callable[[Scene], None]] = {
    "nothing goes wrong": plain,
}
