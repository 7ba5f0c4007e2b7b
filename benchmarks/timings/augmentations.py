"""Colour jitter, hue and blur of a training step's images against torchvision's functions.

`python -m benchmarks.timings.augmentations`: the strong views of one step, of the same draws, by
`pipeline/data/augment.py` (once for the whole batch) and by `torchvision.transforms.v2` (image by
image, for its factors are numbers), alternately in one process; and random-intensity views, whose
contrast, colour, hue and blur alone are not torchvision's. Writes augmentations.{json,md}.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from benchmarks.support import RESULTS, machine, table
from pipeline.data import augment, random_intensity
from pipeline.files import write_json, write_text

BAR = 1.2  # ours is kept where a step is at least so much quicker
BATCHES = ((4, 96, 128), (4, 256, 512))  # params.yaml's default; a usual street scene
WARM_UP = 3
KERNEL = [2 * augment.BLUR_RADIUS_PX + 1] * 2
Step = Callable[[Tensor, int], Tensor]
"""(images_BCHW, seed) -> views_BCHW."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60, help="counted steps of each")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    rows = [
        {"step": name, "images": "x".join(map(str, shape))} | compared(name, shape, repeats)
        for shape in BATCHES
        for name in STEPS
    ]
    write_json(RESULTS / "augmentations.json", rows)
    lines = [
        "# Augmentations against torchvision's",
        "",
        f"`python -m benchmarks.timings.augmentations --repeats {repeats}`: the same draws by "
        f"both, alternately, in one thread; medians of processor time. {machine()}. `apart`: the "
        "largest difference of a value in [0, 1]; torchvision's grey has weights of four digits. "
        f"Bar: a ratio of {BAR}.",
        "",
        *table(rows),
        "",
    ]
    write_text(RESULTS / "augmentations.md", "\n".join(lines))
    print("\n".join(lines))


def compared(name: str, shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Median milliseconds of both, the median of their ratios, the largest difference."""
    ours, theirs = STEPS[name]
    times: list[tuple[float, float]] = []
    apart = 0.0
    for seed in range(repeats + WARM_UP):
        images_BCHW = torch.rand(
            (shape[0], 3, *shape[1:]), generator=torch.Generator().manual_seed(seed)
        )
        mine, my_ms = timed(ours, images_BCHW, seed)
        other, other_ms = timed(theirs, images_BCHW, seed)
        apart = max(apart, float((mine - other).abs().max()))
        times.append((my_ms, other_ms))
    counted = times[WARM_UP:]
    return {
        "ours ms": round(statistics.median(mine for mine, _ in counted), 2),
        "torchvision ms": round(statistics.median(other for _, other in counted), 2),
        "torchvision / ours": round(statistics.median(other / mine for mine, other in counted), 2),
        "apart": f"{apart:.0e}",
    }


def timed(work: Step, images_BCHW: Tensor, seed: int) -> tuple[Tensor, float]:
    """What it makes, and its milliseconds of a processor: those of the clock hang on other work."""
    start = time.process_time()
    made = work(images_BCHW, seed)
    return made, 1000 * (time.process_time() - start)


def strong_view(images_BCHW: Tensor, seed: int) -> Tensor:
    """As `augment.strong_view`, the same draws, image by image."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(3, len(images_BCHW), generator=generator).tolist()
    jitter = augment._draw_jitter(len(images_BCHW), generator).T.tolist()
    order = torch.randperm(len(augment.JITTERS), generator=generator).tolist()
    low, high = augment.BLUR_SIGMA_PX
    sigmas = (low + torch.rand(len(images_BCHW), generator=generator) * (high - low)).tolist()
    views = []
    for index, image in enumerate(images_BCHW):
        view = image
        if draws[0][index] < augment.JITTER_PROBABILITY:
            for which in order:
                view = JITTERS[which](view, jitter[index][which])
        if draws[1][index] < augment.GREY_PROBABILITY:
            view = T.rgb_to_grayscale(view, num_output_channels=3)
        if draws[2][index] < augment.BLUR_PROBABILITY:
            view = T.gaussian_blur(view, KERNEL, [sigmas[index]] * 2)
        views.append(view)
    return torch.stack(views)


JITTERS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    T.adjust_brightness,
    T.adjust_contrast,
    T.adjust_saturation,
    T.adjust_hue,
)


def random_intensity_view(images_BCHW: Tensor, seed: int) -> Tensor:
    """With torchvision's functions also where `random_intensity` has its own."""
    with patch.dict(random_intensity.OPERATIONS, INTENSITIES):
        return _random_intensity(images_BCHW, seed)


def _factor(strength: float) -> float:
    low, high = random_intensity.FACTOR
    return low + (high - low) * strength


INTENSITIES: dict[str, random_intensity.Operation] = {
    "contrast": lambda image, strength: T.adjust_contrast(image, _factor(strength)),
    "colour": lambda image, strength: T.adjust_saturation(image, _factor(strength)),
    "hue": lambda image, strength: T.adjust_hue(image, strength - 0.5),
    "blur": lambda image, strength: T.gaussian_blur(image, KERNEL, [0.1 + 1.9 * strength] * 2),
}


def _strong(images_BCHW: Tensor, seed: int) -> Tensor:
    return augment.strong_view(images_BCHW, torch.Generator().manual_seed(seed))


def _random_intensity(images_BCHW: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return random_intensity.random_intensity_view(images_BCHW, generator)


def _jitter(which: int) -> tuple[Step, Step]:
    """One of the four jitters, on every image by a number of its own."""

    def numbers(images_BCHW: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return augment._draw_jitter(len(images_BCHW), generator)[which]

    def ours(images_BCHW: Tensor, seed: int) -> Tensor:
        given_B = numbers(images_BCHW, seed)
        return augment.JITTERS[which](images_BCHW, given_B[:, None, None, None])

    def theirs(images_BCHW: Tensor, seed: int) -> Tensor:
        given = zip(images_BCHW, numbers(images_BCHW, seed).tolist(), strict=True)
        return torch.stack([JITTERS[which](*one) for one in given])

    return ours, theirs


def _sigmas(images_BCHW: Tensor, seed: int) -> Tensor:
    return 0.1 + 1.9 * torch.rand(len(images_BCHW), generator=torch.Generator().manual_seed(seed))


def _blurs(images_BCHW: Tensor, seed: int) -> Tensor:
    return augment.gaussian_blur(images_BCHW, _sigmas(images_BCHW, seed))


def _their_blurs(images_BCHW: Tensor, seed: int) -> Tensor:
    given = zip(images_BCHW, _sigmas(images_BCHW, seed).tolist(), strict=True)
    return torch.stack([T.gaussian_blur(image, KERNEL, [sigma] * 2) for image, sigma in given])


STEPS: dict[str, tuple[Step, Step]] = {
    "strong_view": (_strong, strong_view),
    "brightness": _jitter(0),
    "contrast": _jitter(1),
    "saturation": _jitter(2),
    "hue": _jitter(3),
    "blur": (_blurs, _their_blurs),
    "random_intensity_view": (_random_intensity, random_intensity_view),
}


if __name__ == "__main__":
    main()
