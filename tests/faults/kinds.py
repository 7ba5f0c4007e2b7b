"""The table of faults: a kind is a row, and a seed says where it strikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import answers, network
from tests.faults.scene import Scene

Play = Callable[[Scene], None]


@dataclass(frozen=True)
class Kind:
    """A fault; `play` goes from a query that waits to be sent to settled answers."""

    subject: str
    play: Play


def kinds() -> dict[str, Kind]:
    """Every kind by its name."""
    tables = {"network": network.KINDS, "answers": answers.KINDS}
    return {
        f"{subject}: {name}": Kind(subject, play)
        for subject, table in tables.items()
        for name, play in table.items()
    }
