"""Where predictions/scores.parquet has the gradients that `badge` chooses by."""

from __future__ import annotations

GRADIENT_SIZE = 64  # a random projection of all weights, which keeps distances about


def gradient_columns() -> list[str]:
    """One column for each number of a projected gradient."""
    return [f"gradient_{index}" for index in range(GRADIENT_SIZE)]
