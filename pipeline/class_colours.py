"""One colour per class, the same in Label Studio, overlays and charts. Imports nothing heavy."""

from __future__ import annotations

from functools import cache
from itertools import product

from pipeline.types import MAX_CLASSES

# Okabe and Ito 2008 without black and grey: told apart by colour-blind readers too.
_FIRST = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_LEVELS = range(0, 256, 17)  # 16 steps per channel: 4,096 candidates for the rest
_LIGHTNESS = (0.35, 0.93)  # darker or lighter drowns in shadows, snow or the page
_Lab = tuple[float, float, float]


def class_colours(num_classes: int) -> tuple[str, ...]:
    """`#rrggbb` per class index, all distinct; more classes never recolour the first ones."""
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ValueError(f"num_classes {num_classes}: expected 1 to {MAX_CLASSES}")
    # Steps, so that nearly every caller shares one cached list.
    return _ladder(-(-num_classes // 32) * 32)[:num_classes]


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@cache
def _ladder(num_colours: int) -> tuple[str, ...]:
    """The first colours, then always the candidate that is farthest from all before it."""
    candidates = {f"#{r:02x}{g:02x}{b:02x}": (r, g, b) for r, g, b in product(_LEVELS, repeat=3)}
    labs = {colour: _oklab(value) for colour, value in candidates.items()}
    labs = {colour: lab for colour, lab in labs.items() if _LIGHTNESS[0] < lab[0] < _LIGHTNESS[1]}
    chosen = list(_FIRST)
    firsts = [_oklab(rgb(colour)) for colour in _FIRST]
    gap = {colour: min(_gap(lab, first) for first in firsts) for colour, lab in labs.items()}
    while len(chosen) < num_colours:
        farthest = max(gap, key=lambda colour: (gap[colour], colour))
        chosen.append(farthest)
        for colour, lab in labs.items():
            gap[colour] = min(gap[colour], _gap(lab, labs[farthest]))
    return tuple(chosen[:num_colours])


def _gap(left: _Lab, right: _Lab) -> float:
    return sum((a - b) ** 2 for a, b in zip(left, right, strict=True))


def _oklab(value: tuple[int, int, int]) -> _Lab:
    """Lightness and two colour axes in which distance is what eyes see (Ottosson 2020)."""
    red, green, blue = (_linear(channel / 255) for channel in value)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _linear(channel: float) -> float:
    """Undo sRGB's gamma."""
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
