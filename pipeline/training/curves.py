"""Curves of a training: what every step told, thinned for the metrics file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.errors import ModelError

CURVE_POINTS = 60  # enough for a plot, few enough for a file in git


class History:
    """Scalars per step by name; kept on the device until read, since reading waits for it."""

    def __init__(self, columns: Mapping[str, list[float]] | None = None) -> None:
        """`columns` of an earlier part of the same training."""
        self._columns: dict[str, list[float]] = {k: list(v) for k, v in (columns or {}).items()}
        self._waiting: list[dict[str, Tensor]] = []

    def append(self, scalars: Mapping[str, Tensor]) -> None:
        """What one step told; the same names at every step."""
        self._waiting.append({name: value.detach() for name, value in scalars.items()})

    def columns(self) -> dict[str, list[float]]:
        """All values by name; ModelError if the loss left the numbers."""
        if self._waiting:
            names = list(self._waiting[0])
            rows = torch.stack([torch.stack([r[n] for n in names]) for r in self._waiting])
            for name, values in zip(names, rows.T.tolist(), strict=True):
                self._columns.setdefault(name, []).extend(values)
            self._waiting.clear()
        losses = self._columns.get("loss", [0.0])
        if not math.isfinite(losses[-1]):
            raise ModelError(
                f"the loss is {losses[-1]} at step {len(losses)}; lower train.learning_rate "
                "or use train.precision 32-true"
            )
        return self._columns

    def note(self) -> str:
        """The newest values, for the progress bar."""
        return ", ".join(f"{name} {values[-1]:.3f}" for name, values in self.columns().items())


def thin(values: list[float], points: int = CURVE_POINTS) -> list[float]:
    """Means over at most `points` equal stretches, 6 decimals."""
    stretch = max(1, math.ceil(len(values) / points))
    parts = [values[i : i + stretch] for i in range(0, len(values), stretch)]
    return [round(sum(part) / len(part), 6) for part in parts]
