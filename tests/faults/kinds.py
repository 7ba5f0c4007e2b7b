"""The table of faults: a kind is a row, and a seed says where it strikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.faults import answers, kills, machine, network, pairs, services, things
from tests.faults.scene import Scene

Play = Callable[[Scene], None]


@dataclass(frozen=True)
class Kind:
    """A fault; `play` goes from a query that waits to be sent to settled answers."""

    subject: str
    play: Play
    named: frozenset[str] = frozenset()
    """Invariants of `ssl-loop verify` that this fault leaves broken for people to mend."""


# Known not to hold yet: `make faults` plays and counts them, the short form does not.
OPEN: frozenset[str] = frozenset()
# Each starts services of its own, which takes half a minute and more.
LONG = frozenset(f"killed: {name}" for name in services.KINDS)


@cache
def kinds() -> dict[str, Kind]:
    """Every kind by its name."""
    tables = {
        "network": network.KINDS,
        "answers": answers.KINDS,
        "tool": things.KINDS,
        "killed": kills.KINDS | services.KINDS,
        "machine": machine.KINDS,
        "pairs": pairs.KINDS,
    }
    return {
        f"{subject}: {name}": Kind(subject, play)
        for subject, table in tables.items()
        for name, play in table.items()
    }


def cases(number: int, seed: int) -> list[tuple[str, int]]:
    """(kind, seed) of that many faults: every kind in turn, each time with another seed."""
    names = list(kinds())
    return [(names[i % len(names)], 1000 * seed + i // len(names)) for i in range(number)]


def short(number: int) -> list[tuple[str, int]]:
    """That many kinds, of every subject its share, evenly spaced in its table."""
    held = [name for name in kinds() if name not in OPEN | LONG]
    return [(held[i * len(held) // number], 0) for i in range(number)]
