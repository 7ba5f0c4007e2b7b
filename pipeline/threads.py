"""How many threads torch may use, and how they wait; to be settled before torch is imported."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "max 100000", or "<us per period> <period>"


def settle_threads(environ: MutableMapping[str, str], quota: Path = CPU_QUOTA) -> None:
    """Set OpenMP's count and waiting in `environ`, unless they are set already.

    Count: the processors this process may use; torch would count all of the machine's, also where
    a container grants only a few. Waiting: asleep. Threads that spin at OpenMP's barriers take the
    processor from whoever they wait for as soon as anything else runs: with a load of 8 on 2
    cores a step of PSPNet took 19 s spinning and 0.9 s asleep; on an idle machine it is the same.
    """
    environ.setdefault("OMP_NUM_THREADS", str(usable_processors(quota)))
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def usable_processors(quota: Path = CPU_QUOTA) -> int:
    """Processors that affinity and the container's quota allow, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    granted, _, period = quota.read_text().partition(" ") if quota.exists() else ("max", "", "")
    if granted == "max":
        return allowed or 1
    return max(1, min(allowed or 1, math.ceil(int(granted) / int(period))))
