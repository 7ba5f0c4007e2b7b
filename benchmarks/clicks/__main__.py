"""Click to mask by the teacher: how good, how many seconds of a person, how quick.

`python -m benchmarks.clicks --data DIR` measures whatever part is missing and writes clicks.md and
clicks.json beside the other results; `--part NAME` measures that one anew. Teachers are probes of
12 labels (CamVid, synthetic streets by day), and the images ones of which they know nothing, nor
were the engine's weights fitted to them. Times are CPU seconds of one thread, which other programs
do not count in, and the shortest of the same by the clock.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.clicks.clicks_report import report
from benchmarks.clicks.measured import (
    measured_cars,
    measured_quality,
    measured_seconds,
    measured_speed,
)
from benchmarks.support import RESULTS, machine, read_json
from pipeline.files import write_json, write_text

KEPT = RESULTS / "clicks.json"
PARTS: dict[str, Callable[[Path, Path], Any]] = {
    "quality": measured_quality,
    "cars": measured_cars,
    "seconds": measured_seconds,
    "speed": measured_speed,
}


def main() -> None:
    """Measure, keep, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds camvid/ and encoders/")
    parser.add_argument("--work", type=Path, default=Path("workspaces/clicks"))
    parser.add_argument("--part", choices=PARTS, help="this one anew")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in [args.part] if args.part else [name for name in PARTS if name not in _kept()]:
        print(f"clicks: {name}", flush=True)
        measured = PARTS[name](args.data, args.work)
        found = _kept() | {name: measured, "machine": machine()}
        write_json(KEPT, found)
        write_text(RESULTS / "clicks.md", report(found))


def _kept() -> dict[str, Any]:
    return read_json(KEPT) if KEPT.exists() else {}


if __name__ == "__main__":
    main()
