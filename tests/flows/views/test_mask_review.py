"""`ssl-loop review`: planted errors first, answers that nobody looked at, pictures of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flows import cli
from flows.loop import Loop
from flows.views.mask_review import PAGE, review_workspace
from pipeline import layout
from pipeline.errors import ConfigError, DataError
from pipeline.files import sha256_file
from pipeline.records.manifest import Sample, read_manifest, write_manifest

SIZE = (64, 64)
TINY = {
    "embed": {"encoder": "tu-test_efficientnet", "encoder_weights": None},
    "image": {"height_px": 64, "width_px": 64},
}


@pytest.fixture
def painted(toy: Path, open_toy: Callable[[Path], Loop]) -> Loop:
    """Eight images of grey, green and blue stripes; in the mask of img3 the blue is painted sky,
    and in that of the test image everything is wrong."""
    loop = open_toy(toy)
    samples = [_sample(toy, index) for index in range(8)]
    loop.workspace.write_params(TINY | {"domain": "day", "domains": {"day": {}}})
    write_manifest(toy / layout.MANIFEST, samples)
    return loop


def _sample(root: Path, index: int) -> Sample:
    rng = np.random.default_rng(index)
    classes = np.zeros(SIZE, np.uint8)
    classes[20:44] = 1
    top = 4 * int(rng.integers(12, 14))
    classes[top:] = 2
    colours = np.array([[90, 90, 90], [20, 200, 20], [20, 20, 230]])
    pixels = (colours[classes] + rng.normal(0, 8, (*SIZE, 3))).clip(0, 255).astype(np.uint8)
    mask = classes.copy()
    if index == 3:
        mask[classes == 1] = 0
    if index == 7:
        mask[:] = 2 - classes
    image_file = layout.images_dir("day") / f"img{index}.png"
    mask_file = layout.masks_dir("day") / f"img{index}.png"
    for file, content in ((image_file, pixels), (mask_file, mask)):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(root / file)
    return Sample(
        sample_id=f"day/img{index}",
        domain="day",
        split="test" if index == 7 else "pool",
        image=image_file.as_posix(),
        image_sha256=sha256_file(root / image_file),
        mask=mask_file.as_posix(),
        mask_sha256=sha256_file(root / mask_file),
        origin="ground_truth",
    )


@pytest.mark.heavy
def test_the_planted_error_comes_first_with_its_place(painted: Loop) -> None:
    said = CliRunner().invoke(
        cli.main, ["review", "--json", "--limit", "3", "-w", str(painted.root)]
    )
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["num_judged"] == 7  # not the test image
    first = found["masks"][0]
    assert first["sample_id"] == "day/img3"
    part = first["parts"][0]
    assert (part["painted"], part["likeliest"]) == ("road", "car")
    left, top, width, height = part["box"]
    assert (left, width) == (0, 64)
    assert abs(top - 20) <= 8
    assert abs(height - 24) <= 12
    assert first["annotator"] is None
    assert found["accepted_blind"] == []
    page = (painted.root / PAGE).read_text()
    assert "day/img3" in page
    assert page.count("data:image/jpeg") == 2 * len(found["masks"])


@pytest.mark.heavy
def test_features_of_earlier_reviews_are_not_kept(painted: Loop) -> None:
    review_workspace(painted, "day", 1)
    samples = read_manifest(painted.root / layout.MANIFEST)
    write_manifest(painted.root / layout.MANIFEST, samples[1:])
    review_workspace(painted, "day", 1)
    assert len(list((painted.root / layout.REVIEW).glob("*.npz"))) == 1


def test_what_cannot_be_reviewed_is_said(painted: Loop) -> None:
    with pytest.raises(ConfigError, match=r"--domain 'dusk': expected one of \['day'\]"):
        review_workspace(painted, "dusk", 1)
    samples = read_manifest(painted.root / layout.MANIFEST)
    write_manifest(painted.root / layout.MANIFEST, samples[:1])
    with pytest.raises(DataError, match="1 mask"):
        review_workspace(painted, None, 1)
