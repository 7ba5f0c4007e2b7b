"""Second writings in plain loops for models_compared.py: resizing, pooling, style, regions."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.acquisition.pool import Pool
from pipeline.acquisition.typiclust import typiclust
from pipeline.config.params import AcquireParams

Grid = Sequence[Sequence[float]]
Mask = Sequence[Sequence[bool]]


def resized(values: Grid, size: tuple[int, int]) -> list[float]:
    """Bilinear on pixel areas, edges continued; row by row."""
    found = []
    for y in range(size[0]):
        for x in range(size[1]):
            top = min(max((y + 0.5) * len(values) / size[0] - 0.5, 0.0), len(values) - 1.0)
            left = min(max((x + 0.5) * len(values[0]) / size[1] - 0.5, 0.0), len(values[0]) - 1.0)
            total = 0.0
            for i, row in enumerate(values):
                for j, value in enumerate(row):
                    total += max(0.0, 1 - abs(top - i)) * max(0.0, 1 - abs(left - j)) * value
            found.append(total)
    return found


def bicubic(values: Grid, size: tuple[int, int], scale: tuple[float, float]) -> list[float]:
    """Keys's kernel with a = -3/4, four places of each side, edges continued; no antialias."""
    found = []
    for y in range(size[0]):
        for x in range(size[1]):
            from_y, from_x = (y + 0.5) / scale[0] - 0.5, (x + 0.5) / scale[1] - 0.5
            total = 0.0
            for i in range(math.floor(from_y) - 1, math.floor(from_y) + 3):
                for j in range(math.floor(from_x) - 1, math.floor(from_x) + 3):
                    row = values[min(max(i, 0), len(values) - 1)]
                    value = row[min(max(j, 0), len(row) - 1)]
                    total += _cubic(from_y - i) * _cubic(from_x - j) * value
            found.append(total)
    return found


def _cubic(t: float) -> float:
    t = abs(t)
    if t <= 1:
        return 1.25 * t**3 - 2.25 * t**2 + 1
    return -0.75 * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def pooled(values: Grid, side: int) -> list[list[float]]:
    """Means over side x side parts, which share pixels where they do not divide the map."""
    height, width = len(values), len(values[0])
    found = []
    for i in range(side):
        rows = values[i * height // side : -(-(i + 1) * height // side)]
        means = []
        for j in range(side):
            part = [v for row in rows for v in row[j * width // side : -(-(j + 1) * width // side)]]
            means.append(sum(part) / len(part))
        found.append(means)
    return found


def with_style(
    source_HW: NDArray[np.float32], style_HW: NDArray[np.float32], beta: float
) -> NDArray[np.float64]:
    """Low amplitudes exchanged, frequency 0 in the middle, in a square."""
    source, style = (np.fft.fftshift(np.fft.fft2(each)) for each in (source_HW, style_HW))
    amplitude = np.abs(source)
    height, width = source_HW.shape
    for row in range(height):
        for column in range(width):
            far = max(abs(row - height // 2), abs(column - width // 2))
            if far <= math.floor(beta * min(height, width)):
                amplitude[row, column] = np.abs(style[row, column])
    mixed = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(source))))
    cut: NDArray[np.float64] = mixed.real.clip(0, 1)
    return cut


def picked_clusters(sizes: list[int], labelled: list[int], params: AcquireParams) -> list[float]:
    """The clusters of all candidates in the order in which typiclust picks them."""
    rng = np.random.default_rng(0)
    corners_ND = np.repeat(np.eye(len(sizes)), sizes, axis=0)
    corners_ND = corners_ND + rng.normal(scale=0.01, size=corners_ND.shape)
    pool = Pool(
        sample_ids=tuple(f"{place:04d}" for place in range(len(corners_ND))),
        embeddings_ND=corners_ND,
        labelled_embeddings_MD=np.eye(len(sizes))[labelled],
    )
    module = sys.modules[typiclust.__module__]
    own, module.clusters = module.clusters, lambda points_ND, *_: points_ND.argmax(axis=1)  # type: ignore[attr-defined]
    try:
        picks = typiclust(pool, len(corners_ND), params, rng)
    finally:
        module.clusters = own  # type: ignore[attr-defined]
    return [float(corners_ND[int(pick.sample_id)].argmax()) for pick in picks]


def clusters_by_rule(sizes: list[int], num_labels: list[int]) -> list[int]:
    """Fewest labels first, then the largest; those of 5 points and fewer when no other is left."""
    labels, left, found = list(num_labels), list(sizes), []
    whole = [size + count for size, count in zip(sizes, labels, strict=True)]
    for _ in range(sum(sizes)):
        open_ones = [c for c in range(len(sizes)) if left[c]]
        large = [c for c in open_ones if whole[c] > 5] or open_ones
        found.append(min(large, key=lambda c: (labels[c], -sizes[c])))
        left[found[-1]] -= 1
        labels[found[-1]] += 1
    return found


def told(logits_KN: Grid, first_KN: Grid, second_KN: Grid) -> list[list[float]]:
    """sum_i logits_i Corr_ij, Corr_i = softmax_j(first_i . second_j / sqrt(K))."""
    classes, places = range(len(logits_KN)), range(len(logits_KN[0]))
    found = [[0.0 for _ in places] for _ in classes]
    for i in places:
        scores = [
            sum(first_KN[k][i] * second_KN[k][j] for k in classes) / math.sqrt(len(classes))
            for j in places
        ]
        total = sum(math.exp(score) for score in scores)
        for j in places:
            for k in classes:
                found[k][j] += logits_KN[k][i] * math.exp(scores[j]) / total
    return found


def regions(rows: Sequence[Grid], size: tuple[int, int]) -> list[list[list[bool]]]:
    """Each row at the image's size, then above the middle between its extremes."""
    found = []
    for row in rows:
        values = resized(row, size)
        least, largest = min(values), max(values)
        above = [(value - least) / (largest - least) > 0.5 for value in values]
        found.append([above[y * size[1] : (y + 1) * size[1]] for y in range(size[0])])
    return found


class Spread(NamedTuple):
    """Labels of one image."""

    labels: list[list[int]]
    reliable: list[list[bool]]

    def numbers(self) -> list[float]:
        """Both, row by row."""
        return [float(v) for part in (self.labels, self.reliable) for row in part for v in row]


def spread(regions: Sequence[Mask], before: Spread, own: Mask, tau: float) -> Spread:
    """The authors' rule, region after region, pixel after pixel; `own` is not pasted, not padding.

    A region whose reliable share is at least tau, and of that more than tau one class, takes it.
    """
    labels, sure = [list(row) for row in before.labels], [list(row) for row in before.reliable]
    places = [(y, x) for y in range(len(labels)) for x in range(len(labels[0]))]
    for region in regions:
        inside = [(y, x) for y, x in places if region[y][x] and own[y][x]]
        known = [(y, x) for y, x in inside if before.reliable[y][x]]
        if not known or len(known) / len(inside) < tau:
            continue
        counts = [sum(labels[y][x] == k for y, x in known) for k in range(256)]
        if max(counts) / len(known) > tau:
            for y, x in inside:
                labels[y][x] = counts.index(max(counts))
                sure[y][x] = True
    return Spread(labels, sure)
