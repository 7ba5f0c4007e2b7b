from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config.params import ImageParams
from pipeline.data.dataset import ImageStore, read_overview
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
    assert store.crop_size == (32, 64)
    assert image.shape == (3, 32, 64)
    assert mask.shape == (32, 64)
    assert image.dtype == mask.dtype == torch.uint8
    assert image.is_contiguous()
    # Nearest: no class between 0, 1 and IGNORE appears.
    assert mask.unique().tolist() == [0, 1, IGNORE]
    assert torch.equal(mask[1:] == 1, torch.arange(64).expand(31, 64) < 32)
    assert image[:, 5, 5].tolist() == [255, 255, 255]
    assert image[:, 5, 60].tolist() == [0, 0, 0]


def test_with_a_scale_images_keep_their_shape(tmp_path: Path) -> None:
    write(tmp_path, "a")  # 64 x 128
    write(tmp_path, "b", scale=3)  # 96 x 192
    half = PARAMS.model_copy(update={"scale": 0.5})
    store = ImageStore(tmp_path, half, cache_mib=1)
    assert store.crop_size == (32, 64)
    assert store.image(sample("a")).shape == (3, 32, 64)
    assert store.image(sample("b")).shape == (3, 48, 96)
    assert store.mask(sample("b")).shape == (48, 96)
    whole = ImageStore(tmp_path, PARAMS.model_copy(update={"scale": 1.0}), cache_mib=1)
    assert whole.image(sample("b")).shape == (3, 96, 192)
    with Image.open(tmp_path / "b_mask.png") as file:
        assert np.array_equal(whole.mask(sample("b")).numpy(), np.array(file))


def test_an_overview_shows_all_of_an_image_in_its_own_shape(tmp_path: Path) -> None:
    Image.new("RGB", (1920, 1080)).save(tmp_path / "wide.png")
    Image.new("RGB", (1080, 1920)).save(tmp_path / "high.png")
    image = ImageParams(height_px=256, width_px=320, scale=1.0)
    assert read_overview(tmp_path / "wide.png", image).shape == (3, 224, 384)
    assert read_overview(tmp_path / "high.png", image).shape == (3, 384, 224)
    assert read_overview(tmp_path / "high.png", PARAMS).shape == (3, 32, 64)  # squeezed


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
