from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.data.folders import Folder
from tests.pipeline.data.pixels import SaveExif


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.images.mkdir()
    made.masks.mkdir()
    return made


@pytest.fixture
def save_exif() -> SaveExif:
    """Save pixels as a camera held sideways does: stored as they are, with an orientation."""

    def save(pixels: np.ndarray, path: Path, orientation: int) -> None:
        image = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(path, exif=exif)

    return save
