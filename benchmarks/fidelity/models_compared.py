"""Networks, strategies and measures beside plain loops."""

from __future__ import annotations

from benchmarks.fidelity.comparisons import Comparison

MODELS_COMPARED: list[Comparison] = []
