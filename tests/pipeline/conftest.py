"""A workspace so small that a training takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import layout
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import save_mask
from pipeline.files import sha256_file
from pipeline.records.manifest import Sample, write_manifest

TINY_PARAMS = {
    "classes": ["ground", "square", "never"],
    "domain": "day",
    "domains": {"day": {}},
    "image": {"height_px": 64, "width_px": 64},
    "model": {"name": "pspnet_mini", "encoder": "tu-test_efficientnet"},
    "train": {"steps": 4, "batch_labelled": 2, "batch_unlabelled": 3, "checkpoint_every_s": 1e9},
    "method": {"name": "fixmatch", "confidence_threshold": 0.4, "rampup_share": 0.0},
}


def draw_square(number: int, height_px: int, width_px: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on dark noise, and where it is; the top row is IGNORE."""
    rng = np.random.default_rng(number)
    image_HWC = rng.integers(0, 90, (height_px, width_px, 3), dtype=np.uint8)
    mask_HW = np.zeros((height_px, width_px), np.uint8)
    top, left = rng.integers(2, 20, 2)
    image_HWC[top : top + 24, left : left + 30] += 150
    mask_HW[top : top + 24, left : left + 30] = 1
    mask_HW[0] = 255
    return image_HWC, mask_HW


def add_sample(
    root: Path,
    sample_id: str,
    split: str,
    number: int,
    *,
    masked: bool,
    size: tuple[int, int] = (60, 70),
) -> Sample:
    domain, stem = sample_id.split("/")
    image_HWC, mask_HW = draw_square(number, *size)
    image = layout.images_dir(domain) / f"{stem}.png"
    mask = layout.masks_dir(domain) / f"{stem}.png"
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_HWC).save(root / image)
    if masked:
        save_mask(root / mask, mask_HW)
    return Sample(
        sample_id=sample_id,
        domain=domain,
        split=split,  # type: ignore[arg-type]
        image=str(image),
        image_sha256=sha256_file(root / image),
        mask=str(mask) if masked else "",
        mask_sha256=sha256_file(root / mask) if masked else "",
        origin="ground_truth" if masked else "",
    )


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., Path]:
    """`make_workspace(labelled, unlabelled, val=2, name="w")`: a folder with images, manifest."""

    def make(labelled: int, unlabelled: int, val: int = 2, name: str = "w") -> Path:
        root = tmp_path / name
        plan = [("pool", True)] * labelled + [("pool", False)] * unlabelled + [("val", True)] * val
        samples = [
            add_sample(root, f"day/{number:02}", split, number, masked=masked)
            for number, (split, masked) in enumerate(plan)
        ]
        write_manifest(root / layout.MANIFEST, samples)
        return root

    return make


@pytest.fixture
def tiny_params() -> Callable[..., Params]:
    """`tiny_params(train={"steps": 2})`: params of the tiny workspace, blocks overridden."""

    def make(**blocks: dict[str, object]) -> Params:
        merged = {**TINY_PARAMS}
        for name, changes in blocks.items():
            merged[name] = {**TINY_PARAMS.get(name, {}), **changes}  # type: ignore[dict-item]
        return parse_params(merged)

    return make
