"""One side of benchmarks/timings/bald.py, run by that side's own interpreter.

`bald_side.py SIDE ARRAY` prints JSON: the seconds of the best of 3 calls, and MiB of peak memory
over the loaded array. Writes the values beside the array.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CALLS = 3
Floats = NDArray[np.float32]
Bald = Callable[[Floats], Floats]


def main(side: str, array: Path) -> None:
    """Import first: only what the call itself takes is to be seen."""
    bald = SIDES[side]()
    probs_NKHWM = np.load(array)
    before = peak_mib()
    seconds = []
    for _ in range(CALLS):
        started = time.perf_counter()
        bald_NHW = bald(probs_NKHWM)
        seconds.append(time.perf_counter() - started)
    mib = peak_mib() - before
    np.save(array.with_name(f"{side}.npy"), bald_NHW)
    print(json.dumps({"seconds": min(seconds), "mib": mib}))


def peak_mib() -> float:
    """Of resident memory in this program; getrusage's also has the parent's, from before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def baal() -> Bald:
    """baal's heuristic, without its reduction to one number per image."""
    from baal.active.heuristics import BALD  # type: ignore[import-not-found]

    return BALD().get_uncertainties


def array() -> Bald:
    """Ours for arrays."""
    from pipeline.uncertainty.ensemble import bald_of

    return bald_of


def one_core() -> Bald:
    """The same, bound to one processor."""
    bind()
    return array()


def streamed() -> Bald:
    """Ours for members that come one at a time, strip by strip as the stage predict takes them."""
    bind()
    from pipeline.uncertainty.ensemble import BLOCK, Members

    def bald(probs_NKHWM: Floats) -> Floats:
        num, num_classes, height, width, num_members = probs_NKHWM.shape
        step = max(1, BLOCK // (num_classes * width * num_members))
        bald_NHW = np.empty((num, height, width), dtype=np.float32)
        for image, top in itertools.product(range(num), range(0, height, step)):
            members = Members()
            for member in range(num_members):
                members.add(probs_NKHWM[image, :, top : top + step, :, member])
            bald_NHW[image, top : top + step] = members.bald
        return bald_NHW

    return bald


def bind() -> None:
    """To the last of the processors that this process may use."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


SIDES = {side.__name__: side for side in (baal, array, one_core, streamed)}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
