"""One image file in, one answer out: what `ssl-loop serve` sends back."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pipeline.data.dataset import seen_image
from pipeline.data.formats.images import value_counts
from pipeline.deploy.deployed_model import DeployedModel, ShownImage
from pipeline.deploy.given_images import GivenImage
from pipeline.inference.prediction_files import save_classes, save_confidence

Output = Literal["mask", "confidence", "shares"]


def answer(model: DeployedModel, image: Path, output: Output, max_megapixels: float) -> bytes:
    """A PNG of class indices or of 255 x confidence, or JSON with the share of each class.

    DataError where the file is no image that can be read, TooLargeError above `max_megapixels`.
    """
    given = GivenImage(path=image, image_sha256="", max_megapixels=max_megapixels)
    size, pixels_CHW = seen_image(given.strips(), model.image)
    ((_, found),) = model.predictions([(ShownImage(given, size), pixels_CHW)])
    if output == "shares":
        counts = value_counts(found.whole.classes_HW)[: len(model.classes)]
        shares = (counts / counts.sum()).round(6).tolist()
        return json.dumps(dict(zip(model.classes, shares, strict=True))).encode()
    save = {"mask": save_classes, "confidence": save_confidence}[output]
    with TemporaryDirectory(prefix="ssl-loop-answer-") as folder:
        save(Path(folder) / "answer.png", found.whole)
        return (Path(folder) / "answer.png").read_bytes()
