"""How many threads torch may use, how they wait, and how freed memory is kept for the next step."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "max 100000", or "<us per period> <period>"
SPIN_COUNT = "10000"  # of libgomp, which torch's Linux builds carry
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
NEVER = 2**31 - 1  # mallopt takes an int


def settle_torch() -> None:
    """Settle threads and memory of a process before it imports torch, and best before numpy.

    Importing `pipeline` alone changes neither: whatever may be the first to import torch calls
    this before (tests/static/test_torch_entries.py). Programs that it starts inherit the threads;
    a second call changes nothing.
    """
    settle_threads(os.environ)
    keep_freed_memory(os.environ)


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


def keep_freed_memory(environ: Mapping[str, str]) -> bool:
    """Tell glibc not to hand large blocks back to the system; False where it is not asked.

    A step frees what the next one needs again. By default each large tensor is mapped anew and
    every page of it faults: 15,000 to 27,000 faults in a step of fixmatch (the setting of
    `benchmarks.timings.step_cost`), a fifth of its time; so 1,700. The process's peak memory is the
    same, but it stays at it. Not asked where the user has set malloc by the environment, nor
    without glibc.
    """
    if any(name in environ for name in SET_BY_USER):
        return False
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, NEVER)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
