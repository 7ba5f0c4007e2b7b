"""Second writings of thresholds that follow the teacher, on lists of pixels.

A pixel is the list of its K probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.fidelity.plain_pixels import argmax

Pixels = Sequence[list[float]]


class FreeMatchMeans(NamedTuple):
    """Running means of the teacher's pixels."""

    confidence: float
    probabilities: list[float]
    shares: list[float]


def freematch_means(steps: Sequence[Pixels], num_classes: int, decay: float) -> FreeMatchMeans:
    """After those steps, from 1/K on; a step without a pixel moves nothing."""
    tau = 1 / num_classes
    probabilities, shares = [tau] * num_classes, [tau] * num_classes
    for pixels in filter(None, steps):
        n = len(pixels)
        tau = decay * tau + (1 - decay) * sum(max(pixel) for pixel in pixels) / n
        for c in range(num_classes):
            new = sum(pixel[c] for pixel in pixels) / n
            probabilities[c] = decay * probabilities[c] + (1 - decay) * new
            part = sum(argmax(pixel) == c for pixel in pixels) / n
            shares[c] = decay * shares[c] + (1 - decay) * part
    return FreeMatchMeans(tau, probabilities, shares)


def freematch_thresholds(means: FreeMatchMeans) -> list[float]:
    """tau(c) = tau p(c) / max p."""
    largest = max(means.probabilities)
    return [means.confidence * p / largest for p in means.probabilities]


def freematch_fairness(means: FreeMatchMeans, kept: Pixels) -> float:
    """sum_c a(c) ln b(c) over the classes predicted in the student's kept pixels."""
    num_classes = len(means.shares)
    counts = [sum(argmax(pixel) == c for pixel in kept) for c in range(num_classes)]
    found = [
        sum(pixel[c] for pixel in kept) / len(kept) / (counts[c] / len(kept)) if counts[c] else 0.0
        for c in range(num_classes)
    ]
    wanted = [p / h for p, h in zip(means.probabilities, means.shares, strict=True)]
    return sum(
        wanted[c] / sum(wanted) * math.log(found[c] / sum(found))
        for c in range(num_classes)
        if counts[c]
    )


def flexmatch_thresholds(
    images: Sequence[Pixels], num_images: int, num_classes: int, tau: float
) -> list[float]:
    """Of the pixels of the images seen so far, as they were seen last."""
    sigma = [0.0] * num_classes
    for pixels in filter(None, images):
        for pixel in pixels:
            if max(pixel) >= tau:
                sigma[argmax(pixel)] += 1 / len(pixels)
    unused = num_images - sum(sigma)
    status = [value / max(*sigma, unused) for value in sigma]
    return [tau * b / (2 - b) for b in status]


def average(seen: Sequence[float], start: float, decay: float) -> float:
    """The exponential moving average that the n-th value moves by at most 1/n."""
    current = start
    for number, value in enumerate(seen, 1):
        keep = min(1 - 1 / number, decay)
        current = keep * current + (1 - keep) * value
    return current


def softmatch_weights(
    steps: Sequence[Pixels], asked: Pixels, bounds: tuple[float, float], decay: float
) -> list[float]:
    """exp(-min(q - mu, 0)^2 / (2 var / 4)) of the asked pixels, mu and var of all pixels."""
    confidences = [[max(pixel) for pixel in pixels] for pixels in steps]
    means = [sum(values) / len(values) for values in confidences if values]
    mu = min(max(average(means, 1 / len(asked[0]), decay), bounds[0]), bounds[1])
    variance = average([_variance(v) for v in confidences if len(v) > 1], 1.0, decay)
    return [math.exp(-(min(max(p) - mu, 0) ** 2) / (2 * variance / 2**2)) for p in asked]


def softmatch_weights_per_class(
    steps: Sequence[Pixels], asked: Pixels, bounds: tuple[float, float], decay: float
) -> list[float]:
    """The same with mu and var of the pixels predicted as the same class."""

    def of_class(pixels: Pixels, c: int) -> Pixels:
        return [pixel for pixel in pixels if argmax(pixel) == c]

    return [
        softmatch_weights([of_class(each, argmax(p)) for each in steps], [p], bounds, decay)[0]
        for p in asked
    ]


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)
