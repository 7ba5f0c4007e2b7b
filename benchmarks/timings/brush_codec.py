"""How much faster our brush codec is than the SDK's: `python benchmarks/timings/brush_codec.py`.

Both run alternately on the same regions in one process, so that the ratio holds on a busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.annotators.brush_rle import decode, encode

CASES = ((360, 480, 11, 0.0), (360, 480, 11, 0.02), (1024, 2048, 19, 0.0), (1024, 2048, 19, 0.01))
REPEATS = 3


def scene(height: int, width: int, num_classes: int, noise: float) -> NDArray[np.uint8]:
    """Class indices in wavy bands with blobs, and a share of single wrong pixels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width]
    wave = rows / height * 6 + np.sin(columns / width * 20) + np.cos((rows + columns) / width * 9)
    mask = np.floor(wave / wave.max() * num_classes).astype(int) % num_classes
    wrong = rng.random(mask.shape) < noise
    mask[wrong] = rng.integers(0, num_classes, int(wrong.sum()))
    return mask.astype(np.uint8)


def best_ms(work: Callable[[], Any]) -> float:
    """Milliseconds of the fastest of REPEATS."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds) * 1000


def main() -> None:
    """Print a Markdown table, per region."""
    from label_studio_sdk.converter import brush  # seconds

    sdk: Any = brush  # without types
    print("| image | kB | encode SDK | ours | ratio | decode SDK | ours | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for height, width, num_classes, noise in CASES:
        mask = scene(height, width, num_classes, noise)
        present = np.unique(mask)[:: 1 if height < 1000 else 6]  # the SDK takes seconds
        alphas = [(mask == index).astype(np.uint8) * 255 for index in present]
        codes = [encode(alpha) for alpha in alphas]
        times = [
            best_ms(lambda: [sdk.mask2rle(alpha) for alpha in alphas]),  # noqa: B023
            best_ms(lambda: [encode(alpha) for alpha in alphas]),  # noqa: B023
            best_ms(lambda: [sdk.decode_rle(code) for code in codes]),  # noqa: B023
            best_ms(lambda: [decode(code, height, width) for code in codes]),  # noqa: B023
        ]
        old_in, new_in, old_out, new_out = (ms / len(alphas) for ms in times)
        kilobytes = sum(map(len, codes)) / len(codes) / 1000
        print(
            f"| {height}x{width}, {num_classes} classes, {noise:.0%} noise | {kilobytes:.1f} "
            f"| {old_in:.1f} ms | {new_in:.1f} ms | {old_in / new_in:.0f} "
            f"| {old_out:.1f} ms | {new_out:.1f} ms | {old_out / new_out:.0f} |"
        )


if __name__ == "__main__":
    main()
