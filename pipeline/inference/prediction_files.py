"""PNGs of what is said about an image: written whole or not at all. R rows at once, W width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.formats.images import QUICK_PNG, save_mask
from pipeline.files import replacing
from pipeline.inference.pixels import Prediction
from pipeline.uncertainty.scores import Floats


def save_classes(path: Path, predicted: Prediction) -> None:
    """The likeliest class of every pixel, as its index."""
    save_mask(path, predicted.classes_HW, small=False)


def save_confidence(path: Path, predicted: Prediction) -> None:
    """255 times the probability of the likeliest class."""
    _save_grey(path, predicted, "least_confidence", lambda doubt_RW: 1 - doubt_RW)


def save_uncertainty(path: Path, predicted: Prediction) -> None:
    """255 times the entropy, which is 1 where all classes are equally likely."""
    _save_grey(path, predicted, "entropy", lambda entropy_RW: entropy_RW)


def _save_grey(
    path: Path, predicted: Prediction, name: str, shown: Callable[[Floats], Floats]
) -> None:
    grey_HW = np.empty(predicted.classes_HW.shape, dtype=np.uint8)
    for rows, values_RW in predicted.scores[name].strips():
        grey_HW[rows] = (shown(values_RW) * 255).round()
    with replacing(path) as beside:
        Image.fromarray(grey_HW).save(beside, "PNG", **QUICK_PNG)
