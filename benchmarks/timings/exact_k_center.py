"""Exact k-center greedy against a pass over all points per choice.

`python -m benchmarks.timings.exact_k_center`: 500 of a million points of 256 numbers, with peak
memory; of 200,000 beside a matrix-vector product per choice; of 50,000 beside `torch.cdist` per
choice, as in DISTIL's furthest_first, whose time is scaled up from the first 30 choices. float32,
nothing covered; each measurement in a process of its own. Writes k_center.{json,md}.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.support import RESULTS, machine, table
from pipeline.acquisition.diversity import k_center
from pipeline.files import write_json, write_text

NUM_PICKS, NUM_CDIST_PICKS = 500, 30
DIMENSION = 256
NUM_CLUSTERS = 50
ROWS_AT_ONCE = 10_000
KINDS = ("gaussian", "clustered")

Points = NDArray[np.float32]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of which the medians are shown")
    repeats = parser.parse_args().repeats
    found = [
        {"kind": kind}
        | in_own_process(large, kind, 1)
        | in_own_process(beside_product, kind, repeats)
        | in_own_process(beside_cdist, kind, repeats)
        for kind in KINDS
    ]
    write_json(RESULTS / "k_center.json", {"repeats": repeats, "found": found})
    lines = [
        "# Exact k-center: 500 choices",
        "",
        f"`python -m benchmarks.timings.exact_k_center --repeats {repeats}`: points of "
        f"{DIMENSION} float32, nothing covered. {machine()}, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '-')}, load {os.getloadavg()[1]:.0f} "
        "at the end. Medians, of one run for the million; CPU seconds beside those of the clock, "
        "since they suffer less from other work. `product`: norms cached, a matrix-vector "
        "product per choice; for 1,000,000 five times its 200,000. `cdist`: `torch.cdist` per "
        f"choice, {NUM_CDIST_PICKS} choices timed and scaled up to {NUM_PICKS}. Same choices: the "
        f"set of 500 beside `product`, the first {NUM_CDIST_PICKS} in order beside `cdist`. Peak "
        "memory is that of the million's whole process, the points among it. Bars: at most half "
        "of `product`, 30 times faster than `cdist`, peak under 2.5 GB.",
        "",
        *(line for row in found for line in section(row)),
    ]
    write_text(RESULTS / "k_center.md", "\n".join(lines))
    print("\n".join(lines))


def section(found: dict[str, Any]) -> list[str]:
    """One row per number of points; the kinds of points differ in figures alone."""
    product, cdist = np.array(found["product"]), np.array(found["cdist"])
    compared = [
        ("1,000,000", found["large"], 5 * product, "product", "-"),
        ("200,000", found["beside product"], product, "product", found["same set as product"]),
        ("50,000", found["beside cdist"], cdist, "cdist", found["same first as cdist"]),
    ]
    rows = [
        {
            "points": points,
            "k_center s": f"{own[0]:.2f}",
            "CPU s": f"{own[1]:.2f}",
            "beside": other,
            "its s": f"{its[0]:.1f}",
            "its CPU s": f"{its[1]:.1f}",
            "times faster": f"{its[0] / own[0]:.1f}",
            "by CPU": f"{its[1] / own[1]:.1f}",
            "same choices": {"-": "-", True: "yes", False: "no"}[same],
        }
        for points, own, its, other, same in compared
    ]
    peak = f"{found['kind'].capitalize()} points; peak memory {found['large peak GB']} GB:"
    return [peak, "", *table(rows), ""]


def in_own_process(
    measure: Callable[[str, int], dict[str, Any]], kind: str, repeats: int
) -> dict[str, Any]:
    """So that one's peak memory and threads are not another's."""
    context = multiprocessing.get_context("fork")  # imports take longer than runs
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        found = executor.submit(measure, kind, repeats).result()
    print(kind, found, flush=True)
    return found


def large(kind: str, repeats: int) -> dict[str, Any]:
    """A million points."""
    points_ND = features(kind, 1_000_000)
    times = [
        timed(lambda: k_center(points_ND, points_ND[:0], NUM_PICKS))[1] for _ in range(repeats)
    ]
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"large": medians(times), "large peak GB": round(peak_kb * 1024 / 1e9, 2)}


def beside_product(kind: str, repeats: int) -> dict[str, Any]:
    """200,000 points; alternately, since the machine's other work comes and goes."""
    points_ND = features(kind, 200_000)
    own, plain = [], []
    for _ in range(repeats):
        picks, times = timed(lambda: k_center(points_ND, points_ND[:0], NUM_PICKS))
        own.append(times)
        rows, times = timed(lambda: product_per_pick(points_ND, NUM_PICKS))
        plain.append(times)
    return {
        "beside product": medians(own),
        "product": medians(plain),
        "same set as product": {row for row, _ in picks} == set(rows),
        "same order as product": [row for row, _ in picks] == rows,
    }


def beside_cdist(kind: str, repeats: int) -> dict[str, Any]:
    """50,000 points."""
    points_ND = features(kind, 50_000)
    cdist_per_pick(points_ND, 1)  # imports torch
    own, plain = [], []
    for _ in range(repeats):
        picks, times = timed(lambda: k_center(points_ND, points_ND[:0], NUM_PICKS))
        own.append(times)
        rows, times = timed(lambda: cdist_per_pick(points_ND, NUM_CDIST_PICKS))
        plain.append(tuple(value * NUM_PICKS / NUM_CDIST_PICKS for value in times))
    return {
        "beside cdist": medians(own),
        "cdist": medians(plain),
        "same first as cdist": [row for row, _ in picks[:NUM_CDIST_PICKS]] == rows,
    }


def medians(times: Sequence[tuple[float, ...]]) -> list[float]:
    """Of the clock's and of the CPU's seconds."""
    return [round(statistics.median(values), 2) for values in zip(*times, strict=True)]


def features(kind: str, num: int) -> Points:
    """Normal points, or around 50 centres four times as far apart as each is wide."""
    rng = np.random.default_rng(0)
    centres_CD = 2 * rng.standard_normal((NUM_CLUSTERS, DIMENSION), dtype=np.float32)
    points_ND = np.empty((num, DIMENSION), dtype=np.float32)
    for first in range(0, num, ROWS_AT_ONCE):  # a second array of this size would be the peak
        rows_ND = points_ND[first : first + ROWS_AT_ONCE]
        rng.standard_normal(out=rows_ND, dtype=np.float32)
        if kind == "clustered":
            rows_ND *= 0.5
            rows_ND += centres_CD[rng.integers(NUM_CLUSTERS, size=len(rows_ND))]
    return points_ND


def product_per_pick(points_ND: Points, num: int) -> list[int]:
    """The straightforward fast way: |a|^2 + |b|^2 - 2ab with every choice."""
    squares_N = np.einsum("nd,nd->n", points_ND, points_ND)
    gap_N = np.full(len(points_ND), np.inf, dtype=np.float32)
    rows: list[int] = []
    for _ in range(num):
        row = int(gap_N.argmax())
        rows.append(row)
        squared_N = squares_N + squares_N[row] - 2 * (points_ND @ points_ND[row])
        gap_N = np.minimum(gap_N, squared_N)
        gap_N[row] = -1
    return rows


def cdist_per_pick(points_ND: Points, num: int) -> list[int]:
    """The plain way in torch."""
    import torch  # not in the processes whose memory is measured

    points = torch.from_numpy(points_ND)
    gap_N = torch.full((len(points),), torch.inf)
    rows: list[int] = []
    for _ in range(num):
        rows.append(int(gap_N.argmax()))
        gap_N = torch.minimum(gap_N, torch.cdist(points, points[rows[-1:]])[:, 0])
    return rows


def timed(work: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What it returns; seconds by the clock and of all threads' CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, (time.perf_counter() - clock, time.process_time() - cpu)


if __name__ == "__main__":
    main()
