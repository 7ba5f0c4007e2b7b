import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import layout, row_bands
from pipeline.config.params import ImageParams
from pipeline.data import dataset
from pipeline.data.augment import weak_view
from pipeline.data.dataset import ImageStore, read_image, read_overview
from pipeline.data.formats.images import PixelStrip
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


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read is large."""
    monkeypatch.setattr(dataset, "LARGE", 0)


def hashed(stem: str) -> Sample:
    return replace(sample(stem), image_sha256=f"{stem:0<64}", mask_sha256=f"{stem:1<64}")


def files(root: Path) -> list[str]:
    return sorted(file.name for file in (root / layout.DECODED).rglob("*.npy"))


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37, None])
def test_what_is_mapped_has_the_same_pixels(tmp_path: Path, mapped: None, scale: float) -> None:
    write(tmp_path, "a")
    image = PARAMS.model_copy(update={"scale": scale})
    from_disk, plain = ImageStore(tmp_path, image, 0, 1.0), ImageStore(tmp_path, image, 0)
    for _ in range(2):
        assert torch.equal(from_disk.image(hashed("a")), plain.image(hashed("a")))
        assert torch.equal(from_disk.mask(hashed("a")), plain.mask(hashed("a")))
    assert len(files(tmp_path)) == 2
    expected = plain.image(hashed("a"))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])  # the header alone
    assert torch.equal(from_disk.image(hashed("a")), expected)


def test_every_scale_has_files_of_its_own(tmp_path: Path, mapped: None) -> None:
    write(tmp_path, "a")
    for scale in (1.0, 0.5, 1.0):
        ImageStore(tmp_path, PARAMS.model_copy(update={"scale": scale}), 0, 1.0).image(hashed("a"))
    assert sorted(name.split("-")[1] for name in files(tmp_path)) == ["32x64.npy", "64x128.npy"]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array", None])
def test_a_damaged_or_lost_file_is_made_again(
    tmp_path: Path, mapped: None, damage: bytes | None
) -> None:
    write(tmp_path, "a")
    store = ImageStore(tmp_path, PARAMS, 0, 1.0)
    first = store.image(hashed("a")).clone()
    (file,) = (tmp_path / layout.DECODED).rglob("*.npy")
    whole = file.read_bytes()
    file.unlink()
    file.write_bytes(whole[:-1] if damage is None else damage)
    assert torch.equal(store.image(hashed("a")), first)
    assert file.read_bytes() == whole
    np.save(file, np.zeros((1, 2, 3), np.uint8))
    assert torch.equal(store.image(hashed("a")), first)
    file.unlink()
    assert torch.equal(store.image(hashed("a")), first)


def test_crops_of_what_is_mapped_are_those_of_what_is_in_memory(
    tmp_path: Path, mapped: None
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 140, 3), dtype=np.uint8)
    write(tmp_path, "a")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[:, :, 0] % 3).save(tmp_path / "a_mask.png")
    image = PARAMS.model_copy(update={"scale": 1.0})
    stores = [ImageStore(tmp_path, image, 0, 1.0), ImageStore(tmp_path, image, 0)]
    for seed in range(8):
        one, other = (
            weak_view(
                store.image(hashed("a")),
                store.mask(hashed("a")),
                torch.Generator().manual_seed(seed),
                size=store.crop_size,
            )
            for store in stores
        )
        assert all(torch.equal(here, there) for here, there in zip(one, other, strict=True))


def test_writing_to_what_is_mapped_does_not_reach_the_file(tmp_path: Path, mapped: None) -> None:
    write(tmp_path, "a")
    store = ImageStore(tmp_path, PARAMS, 0, 1.0)
    first = store.image(hashed("a")).clone()
    store.image(hashed("a")).zero_()
    assert torch.equal(store.image(hashed("a")), first)


def test_a_killed_decoding_goes_on_where_it_was(
    tmp_path: Path, mapped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stem in "abc":
        write(tmp_path, stem)
    ImageStore(tmp_path, PARAMS, 0, 1.0).image(hashed("a"))
    decode = dataset.image_strips
    decoded: list[str] = []

    def killed_at_b(path: Path) -> Iterator[PixelStrip]:
        decoded.append(path.stem)
        if len(decoded) == 1:
            raise KeyboardInterrupt
        return decode(path)

    monkeypatch.setattr(dataset, "image_strips", killed_at_b)
    with pytest.raises(KeyboardInterrupt):
        [ImageStore(tmp_path, PARAMS, 0, 1.0).image(hashed(stem)) for stem in "abc"]
    assert len(files(tmp_path)) == 1
    [ImageStore(tmp_path, PARAMS, 0, 1.0).image(hashed(stem)) for stem in "abc"]
    assert decoded == ["b", "b", "c"]
    assert len(files(tmp_path)) == 3


def test_the_disk_stays_bounded_and_old_files_make_room(tmp_path: Path, mapped: None) -> None:
    for stem in "abc":
        write(tmp_path, stem)
    limit_gib = 2.5 * IMAGE_BYTES / 2**30
    plain = ImageStore(tmp_path, PARAMS, 0)
    for stems, kept in (("abc", "ab"), ("b", "ab"), ("cb", "bc"), ("abc", "ab")):
        store = ImageStore(tmp_path, PARAMS, 0, limit_gib)
        for stem in stems:
            assert torch.equal(store.image(hashed(stem)), plain.image(hashed(stem)))
            time.sleep(0.01)  # of a clock of the file system
        assert [name[0] for name in files(tmp_path)] == list(kept)


def test_small_images_are_mapped_where_there_is_memory_but_no_more_of_it(tmp_path: Path) -> None:
    many = 2**20 // IMAGE_BYTES + 2
    for index in range(many):
        write(tmp_path, f"s{index}", scale=1)
    without = ImageStore(tmp_path, PARAMS, 0, 1.0)
    without.image(hashed("s0"))
    assert not files(tmp_path)  # with none at all each is decoded
    store = ImageStore(tmp_path, PARAMS, 1, 1.0)
    for index in range(many):
        store.image(hashed(f"s{index}"))
    assert len(files(tmp_path)) == 2


def test_a_full_disk_costs_time_and_no_training(
    tmp_path: Path,
    mapped: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(tmp_path, "a")
    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    store = ImageStore(tmp_path, PARAMS, 0, 1.0)
    assert torch.equal(store.image(hashed("a")), ImageStore(tmp_path, PARAMS, 0).image(sample("a")))
    store.image(hashed("a"))
    assert capsys.readouterr().err.count("no more decoded images are kept") == 1
    assert not files(tmp_path)


@pytest.mark.parametrize("size", [(75, 100), (47, 63), (7, 300), (300, 400), (149, 199), (1, 1)])
def test_an_image_resized_in_parts_is_the_whole_resized(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    resized = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.array_equal(read_image(tmp_path / "a.png", size).permute(1, 2, 0), resized)
    monkeypatch.setattr(row_bands, "PIXELS_AT_ONCE", 7 * 200)
    monkeypatch.setattr(dataset, "IN_PARTS", 11 * 150)
    assert np.array_equal(read_image(tmp_path / "a.png", size).permute(1, 2, 0), resized)
