"""What benchmarks share: where results are kept, tables, means with spreads, the machine's name."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
POINTS = 100  # of mIoU in 1


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def machine() -> str:
    """Where figures of this run come from."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, CPU"


def device() -> str:
    """What networks are trained on here: the GPU's name, or the machine's."""
    import torch  # seconds; most benchmarks train nothing

    return torch.cuda.get_device_name() if torch.cuda.is_available() else machine()


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A Markdown table, one line each; the first row's keys are the columns."""

    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)

    names = list(rows[0])
    marks = ["---" if isinstance(rows[0][name], str) else "---:" for name in names]
    lines = [f"| {' | '.join(names)} |", f"|{'|'.join(marks)}|"]
    return lines + [f"| {' | '.join(cell(row[name]) for name in names)} |" for row in rows]


def spread(values: Iterable[float], *, sign: bool = False) -> str:
    """Mean +- sample standard deviation in points, of mIoU in [0, 1].

    The mean alone of one value, "-" of none; `sign`: "+1.0" for what is a difference.
    """
    points = [POINTS * value for value in values]
    if not points:
        return "-"
    mean = f"{statistics.fmean(points):{'+' if sign else ''}.1f}"
    return f"{mean} +- {statistics.stdev(points):.1f}" if len(points) > 1 else mean


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """In milliseconds, to a tenth."""
    import numpy as np

    return round(float(np.percentile(seconds, percent)) * 1000, 1)


def pyplot() -> Any:
    """matplotlib's, which draws into files alone and makes equal files of equal figures."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "ssl-loop"
    return plt


def save_plot(figure: Any, path: Path) -> None:
    """An SVG without a date."""
    figure.savefig(path, metadata={"Date": None})
    pyplot().close(figure)


def wait_until(holds: Callable[[], bool], limit_s: float = 600.0, every_s: float = 0.2) -> None:
    """Ask every so often; SystemExit where it does not come to hold within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing happened for {limit_s:.0f} s")
        time.sleep(every_s)
