"""Table and plot of benchmarks/adaptation.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def write_report(found: Sequence[Mapping[str, Any]]) -> None:
    pass
