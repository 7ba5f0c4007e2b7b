"""Methods, mixes and adaptation beside plain loops."""

from __future__ import annotations

from benchmarks.fidelity.comparisons import Comparison, largest
from pipeline.methods.shared.losses import ramp_up

METHODS_COMPARED: list[Comparison] = []


def _ramp() -> float:
    steps = range(0, 41, 5)
    plain = [2.718281828459045 ** (-5 * (1 - min(step / 30, 1)) ** 2) for step in steps]
    return max(largest(ramp_up(s, 30), p) for s, p in zip(steps, plain, strict=True))


METHODS_COMPARED.append(Comparison("rampup_share", "lambda(t) at 9 steps", _ramp))
