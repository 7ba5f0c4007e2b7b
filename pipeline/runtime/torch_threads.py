"""How many threads torch may use, and how they wait; to be settled before torch is imported."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "max 100000", or "<us per period> <period>"
SPIN_COUNT = "10000"  # of libgomp, which torch's Linux builds carry


def settle_threads(environ: MutableMapping[str, str], quota: Path = CPU_QUOTA) -> None:
    """Set OpenMP's count and waiting in `environ`, unless they are set already.

    Count: the processors this process may use; torch would count all of the machine's, also where
    a container grants only a few. Waiting: spinning a little, then asleep. Sleeping at once
    doubles the time of a small network's step; spinning for long takes the processor from whoever
    is waited for as soon as other programs run. Seconds per step of a light U-Net, 4 images of
    96x128 on 2 cores, idle and with 4 busy programs: asleep 0.19 and 0.46, 5,000 spins 0.11 and
    0.59, 20,000 spins 0.09 and 1.33; SPIN_COUNT lies between.
    """
    environ.setdefault("OMP_NUM_THREADS", str(usable_processors(quota)))
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def usable_processors(quota: Path = CPU_QUOTA) -> int:
    """Processors that affinity and the container's quota allow, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    granted, _, period = quota.read_text().partition(" ") if quota.exists() else ("max", "", "")
    if granted == "max":
        return allowed or 1
    return max(1, min(allowed or 1, math.ceil(int(granted) / int(period))))
