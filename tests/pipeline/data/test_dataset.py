from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config.params import ImageParams
from pipeline.data.dataset import ImageStore
from pipeline.errors import DataError
from pipeline.records.manifest import Sample
from pipeline.types import IGNORE

PARAMS = ImageParams(height_px=32, width_px=64)
IMAGE_BYTES = 3 * 32 * 64


def sample(stem: str, *, mask: bool = True) -> Sample:
    return Sample(
        sample_id=f"day/{stem}",
        domain="day",
        split="pool",
        image=f"{stem}.png",
        image_sha256="",
        mask=f"{stem}_mask.png" if mask else "",
    )


def write(root: Path, stem: str, *, scale: int = 2) -> np.ndarray:
    """An image whose left half is white, with a mask whose left half is class 1."""
    mask = np.zeros((32 * scale, 64 * scale), np.uint8)
    mask[:, : 32 * scale] = 1
    mask[:scale] = IGNORE
    Image.fromarray(np.repeat(mask[:, :, None] % 2 * 255, 3, 2)).save(root / f"{stem}.png")
    Image.fromarray(mask).save(root / f"{stem}_mask.png")
    return mask


def test_image_and_mask_arrive_at_the_networks_size(tmp_path: Path) -> None:
    write(tmp_path, "a")
    store = ImageStore(tmp_path, PARAMS, cache_mib=1)
    image, mask = store.image(sample("a")), store.mask(sample("a"))
    assert store.size == (32, 64)
    assert image.shape == (3, 32, 64)
    assert mask.shape == (32, 64)
    assert image.dtype == mask.dtype == torch.uint8
    assert image.is_contiguous()
    # Nearest: no class between 0, 1 and IGNORE appears.
    assert mask.unique().tolist() == [0, 1, IGNORE]
    assert torch.equal(mask[1:] == 1, torch.arange(64).expand(31, 64) < 32)
    assert image[:, 5, 5].tolist() == [255, 255, 255]
    assert image[:, 5, 60].tolist() == [0, 0, 0]


def test_a_large_image_is_averaged_not_sampled(tmp_path: Path) -> None:
    chequered = (np.indices((320, 640)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(np.repeat(chequered[:, :, None], 3, 2)).save(tmp_path / "a.png")
    image = ImageStore(tmp_path, PARAMS, cache_mib=1).image(sample("a")).float()
    assert (image - 127.5).abs().max() < 10


def test_a_file_is_decoded_once(tmp_path: Path) -> None:
    write(tmp_path, "a")
    store = ImageStore(tmp_path, PARAMS, cache_mib=1)
    image, mask = store.image(sample("a")), store.mask(sample("a"))
    for path in tmp_path.iterdir():
        path.unlink()
    assert store.image(sample("a")) is image
    assert store.mask(sample("a")) is mask


def test_memory_stays_bounded_and_what_does_not_fit_is_read_again(tmp_path: Path) -> None:
    many = 2**20 // IMAGE_BYTES + 3
    for index in range(many):
        write(tmp_path, f"s{index}", scale=1)
    store = ImageStore(tmp_path, PARAMS, cache_mib=1)
    first = [store.image(sample(f"s{index}")) for index in range(many)]
    again = [store.image(sample(f"s{index}")) for index in range(many)]
    kept = sum(one is other for one, other in zip(first, again, strict=True))
    assert kept == 2**20 // IMAGE_BYTES
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_without_memory_everything_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, "a")
    store = ImageStore(tmp_path, PARAMS, cache_mib=0)
    assert store.image(sample("a")) is not store.image(sample("a"))


def test_the_mask_of_an_unlabelled_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="day/a: has no mask"):
        ImageStore(tmp_path, PARAMS, cache_mib=1).mask(sample("a", mask=False))
