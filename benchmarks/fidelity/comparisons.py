"""One row of the table of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

TOLERANCE = 1e-5  # float32 sums in another order


class Comparison(NamedTuple):
    """A formula of the product beside a second writing of it, on the same small values."""

    name: str
    """As in params.yaml: a method, a model, a strategy, a knob."""
    compared: str
    """Which quantity, on what."""
    difference: Callable[[], float]
    """The largest absolute difference, worked out at the call; seeded, so the same every time."""
    tolerance: float = TOLERANCE


def largest(found: Tensor | float, expected: Iterable[float] | float) -> float:
    """Largest absolute difference of numbers in one order; ValueError for unequal counts."""
    ours = found.flatten().tolist() if isinstance(found, Tensor) else [found]
    plain = [expected] if isinstance(expected, float) else list(expected)
    return max(abs(one - other) for one, other in zip(ours, plain, strict=True))


def rows(comparisons: Sequence[Comparison]) -> list[dict[str, str]]:
    """Lines of the table; every comparison is made."""
    found = []
    for row in comparisons:
        difference = row.difference()
        found.append(
            {
                "name": f"`{row.name}`",
                "compared": row.compared,
                "largest difference": f"{difference:.1e}" if difference else "0",
                "within": f"{row.tolerance:g}",
                "held": "yes" if difference <= row.tolerance else "NO",
            }
        )
    return found
