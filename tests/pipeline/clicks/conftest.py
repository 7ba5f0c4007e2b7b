"""A picture of two flat halves with a disc, and a workspace that has no teacher yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.params import Params, parse_params
from tests.pipeline.conftest import TINY_PARAMS

SIZE = (72, 96)


def disc_HW() -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - 30) ** 2 + (columns - 55) ** 2 < 14**2


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A bright disc on dark ground under a grey sky, with a little noise."""
    noise = np.random.default_rng(0).integers(0, 6, (*SIZE, 3))
    pixels = np.full((*SIZE, 3), 40) + noise
    pixels[:10] += 80
    pixels[disc_HW()] += np.array([150, 60, 0])
    path = tmp_path / "picture.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def tiny_params() -> Params:
    return parse_params({**TINY_PARAMS, "embed": {"encoder": "tu-test_efficientnet"}})
