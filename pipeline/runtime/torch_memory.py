"""How freed memory is kept for the next training step."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
SET_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
NEVER = 2**31 - 1  # mallopt takes an int


def keep_freed_memory(environ: Mapping[str, str]) -> bool:
    """Tell glibc not to hand large blocks back to the system; False where it is not asked.

    A step frees what the next one needs again. By default each large tensor is mapped anew and
    every page of it faults: 15,000 to 27,000 faults in a step of fixmatch (`benchmarks.step_cost`'s
    setting), a fifth of its time; so 1,700. The process's peak memory is the same, but it stays
    at it. Not asked where the user has set malloc by the environment, nor without glibc.
    """
    if any(name in environ for name in SET_BY_USER):
        return False
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, NEVER)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
