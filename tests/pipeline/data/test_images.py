"""Image files of every kind are read upright as RGB, or refused."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats.images import is_plain, load_image, load_mask, plain_suffix
from pipeline.errors import DataError
from tests.pipeline.data.pixels import GREY, RGB, SaveExif, png

pytestmark = pytest.mark.filterwarnings("error")


def test_rgb_png_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    image = load_image(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, RGB)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "pgm", "webp"])
def test_greyscale_becomes_three_equal_channels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = load_image(path)
    assert image.shape == (6, 8, 3)
    assert all(np.array_equal(image[:, :, channel], GREY) for channel in range(3))


def test_palette_becomes_its_colours(tmp_path: Path) -> None:
    paletted = Image.fromarray(GREY % 3, "P")
    paletted.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    paletted.save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    palette = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    assert np.array_equal(image, palette[GREY % 3])


def test_one_bit_and_cmyk_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png")[:, :, 1], (GREY > 127) * np.uint8(255))
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = load_image(tmp_path / "a.jpg")[0, 0]
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_dropped_with_a_warning(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    if mode == "P":
        paletted = Image.fromarray(GREY % 2, "P")
        paletted.putpalette([10, 20, 30, 40, 50, 60])
        paletted.save(path, transparency=0)
        expected = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)[GREY % 2]
    else:
        image = Image.fromarray(RGB if mode == "RGBA" else GREY).convert(mode)
        image.putalpha(Image.fromarray(GREY))
        image.save(path)
        expected = RGB if mode == "RGBA" else np.repeat(GREY[:, :, None], 3, 2)
    with pytest.warns(UserWarning, match=r"a\.png: alpha dropped"):
        assert np.array_equal(load_image(path), expected)


# Where the stored pixel at row 0, column 0 appears when upright (EXIF 2.3, tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotation_is_applied_once(
    tmp_path: Path, save_exif: SaveExif, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    save_exif(RGB, path, orientation)
    assert np.array_equal(load_image(path), UPRIGHT[orientation](RGB))


def test_exif_rotation_of_jpeg(tmp_path: Path, save_exif: SaveExif) -> None:
    block = np.zeros((16, 32, 3), np.uint8)
    block[:8, :8] = 255
    save_exif(block, tmp_path / "a.jpg", 6)
    upright = load_image(tmp_path / "a.jpg")
    assert upright.shape == (32, 16, 3)
    assert upright[:8, 8:].mean() > 240
    assert upright[8:].mean() < 15


def test_exif_rotation_of_grey_deep_and_transparent_tiffs(
    tmp_path: Path, save_exif: SaveExif
) -> None:
    """Pillow scrambles these when it opens them by path."""
    upright = np.rot90(RGB, -1)
    save_exif(GREY, tmp_path / "grey.tiff", 6)
    assert np.array_equal(load_image(tmp_path / "grey.tiff")[:, :, 0], upright[:, :, 0])
    save_exif(GREY.astype(np.uint16) * 257, tmp_path / "deep.tiff", 6)
    assert np.array_equal(load_image(tmp_path / "deep.tiff")[:, :, 0], upright[:, :, 0])
    save_exif(np.dstack([RGB, GREY]), tmp_path / "alpha.tiff", 6)
    with pytest.warns(UserWarning, match="alpha"):
        assert np.array_equal(load_image(tmp_path / "alpha.tiff"), upright)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_by_their_depth(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(deep).save(path)
    assert load_image(path)[:, :, 0].tolist() == [[0, 0, 1, 128, 255]]


def test_sixteen_bit_big_endian_tiff(tmp_path: Path) -> None:
    Image.new("I;16B", (4, 2), 32896).save(tmp_path / "a.tiff")
    assert (load_image(tmp_path / "a.tiff") == 128).all()


def test_sixteen_bit_colour_is_scaled_by_its_depth(tmp_path: Path) -> None:
    rows = b"\x00" + struct.pack(">6H", 65535, 32896, 0, 257, 0, 65535)
    image = load_image(png(tmp_path / "a.png", 16, 2, rows, (1, 2)))
    assert image.tolist() == [[[255, 128, 0], [1, 0, 255]]]


def test_twelve_bit_data_in_sixteen_bits_is_pointed_out(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 4095, np.uint16)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"4095 of 65535.*multiply it by 16"):
        assert (load_image(tmp_path / "a.png") == 16).all()


def test_a_telephones_two_picture_jpeg_gives_the_first(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "blue")
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert load_image(tmp_path / "a.jpg")[0, 0, 0] > 200
    assert not is_plain(tmp_path / "a.jpg")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.gif: 2 frames"):
        load_image(tmp_path / "a.gif")


def test_values_without_a_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(
        DataError, match=r"a\.tiff: a TIFF of 32-bit floating-point numbers in 1 band\(s\)"
    ):
        load_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_not_an_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (load_image, is_plain, lambda path: load_mask(path, 3)):
        with pytest.raises(DataError, match=r"a\.png"):
            read(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    for read in (load_image, lambda path: load_mask(path, 3)):
        with pytest.raises(DataError, match=r"none\.png"):
            read(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp", "webp", "gif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_image_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    with pytest.raises(DataError, match=rf"a\.{suffix}"):
        load_image(path)


def test_png_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: damaged or truncated"):
        load_image(path)


def test_plain_is_upright_eight_bit_rgb(tmp_path: Path, save_exif: SaveExif) -> None:
    plain = {"a.png": RGB, "b.jpg": RGB}
    for name, pixels in plain.items():
        Image.fromarray(pixels).save(tmp_path / name)
        assert is_plain(tmp_path / name), name
    save_exif(RGB, tmp_path / "upright.jpg", 1)
    assert is_plain(tmp_path / "upright.jpg")
    save_exif(RGB, tmp_path / "turned.jpg", 3)
    Image.fromarray(GREY).save(tmp_path / "grey.jpg")
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([RGB, GREY])).save(tmp_path / "alpha.png")
    Image.fromarray(RGB).save(tmp_path / "c.webp", lossless=True)
    Image.fromarray(RGB).save(tmp_path / "keyed.png", transparency=(1, 2, 3))
    png(tmp_path / "deep.png", 16, 2, b"\x00" + bytes(12), (1, 2))
    for name in (
        "turned.jpg",
        "grey.jpg",
        "grey.png",
        "alpha.png",
        "c.webp",
        "keyed.png",
        "deep.png",
    ):
        assert not is_plain(tmp_path / name), name


def test_plain_suffix_goes_by_content(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", format="PNG")
    Image.fromarray(RGB).save(tmp_path / "b.JPEG")
    assert plain_suffix(tmp_path / "a.jpg") == ".png"
    assert plain_suffix(tmp_path / "b.JPEG") == ".jpg"


def test_images_in_memory_are_not_needed(tmp_path: Path) -> None:
    """A file handle is closed again: thousands of images are read in one process."""
    path = tmp_path / "a.png"
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(20):
            load_image(path)


def test_twelve_bit_tiff_is_scaled_by_its_own_depth(tmp_path: Path) -> None:
    packed = bytes([0xFF, 0xF8, 0x00, 0x00, 0x00, 0x10])  # 4095, 2048, 0, 16 at 12 bits each
    # tag, type (3 = 16-bit, 4 = 32-bit number), value: width, height, bits, no compression,
    # black is zero, strip offset, samples, rows per strip, strip bytes
    tags = [(256, 3, 4), (257, 3, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, 1), (279, 4, len(packed))]
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    header = b"II*\x00" + struct.pack("<I", 8 + len(packed))
    (tmp_path / "a.tiff").write_bytes(header + packed + directory + bytes(4))
    assert load_image(tmp_path / "a.tiff")[0, :, 0].tolist() == [255, 128, 0, 1]


def banded(
    path: Path, bands: int, *, kind: str = "u1", planar: int = 1, photometric: int = 1, **extra: int
) -> Path:
    """An uncompressed TIFF of 6 x 8 pixels, as GDAL writes bands of no known meaning."""
    dtype, size = np.dtype(kind), (6, 8)
    samples = np.arange(bands * 48).reshape(bands, *size).astype(dtype)
    data = (samples if planar == 2 else np.moveaxis(samples, 0, -1)).tobytes()
    each = len(data) // (bands if planar == 2 else 1)
    offsets = [8 + each * place for place in range(len(data) // each)]
    form = {"u": 1, "i": 2, "f": 3}[dtype.kind]
    tags: dict[int, list[int]] = {256: [size[1]], 257: [size[0]], 259: [1], 262: [photometric]}
    tags |= {258: [8 * dtype.itemsize] * bands, 277: [bands], 284: [planar], 339: [form] * bands}
    tags |= {273: offsets, 278: [size[0]], 279: [each] * len(offsets)}
    colours = 3 if photometric == 2 else 1
    if bands > colours:
        tags[338] = [extra.get("alpha", 0)] * (bands - colours)
    at = 8 + len(data) + 2 + 12 * len(tags) + 4
    entries, more = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        entries += struct.pack("<HHI", tag, 4, len(values))
        entries += packed if len(packed) == 4 else struct.pack("<I", at + len(more))
        more += packed if len(packed) > 4 else b""
    directory = struct.pack("<H", len(tags)) + entries + bytes(4) + more
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("kind", ["u1", "<u2"])
@pytest.mark.parametrize(("bands", "photometric"), [(2, 1), (3, 1), (4, 2), (4, 1), (5, 2), (5, 1)])
def test_a_tiff_of_other_bands_is_refused_with_what_to_do(
    tmp_path: Path, bands: int, photometric: int, kind: str, planar: int
) -> None:
    path = banded(tmp_path / "a.tif", bands, kind=kind, planar=planar, photometric=photometric)
    with pytest.raises(DataError) as refused:
        load_image(path)
    assert str(refused.value) == (
        f"{path}: a TIFF of {bands} bands, expected 1 (grey) or 3 (RGB); choose three, for example "
        "`gdal_translate -b 3 -b 2 -b 1 a.tif rgb_a.tif`"
    )


@pytest.mark.parametrize("kind", ["<f4", "<f8", "<u4", "<i4"])
def test_a_tiff_without_a_known_range_is_refused_with_what_to_do(tmp_path: Path, kind: str) -> None:
    path = banded(tmp_path / "a.tif", 1, kind=kind)
    bits, word = 8 * int(kind[2]), "floating-point" if kind[1] == "f" else "whole"
    with pytest.raises(DataError, match=rf"a TIFF of {bits}-bit {word} numbers in 1 band") as found:
        load_image(path)
    assert "`gdal_translate -ot Byte -scale BLACK WHITE 0 255 a.tif byte_a.tif`" in str(found.value)


@pytest.mark.parametrize("planar", [1, 2])
def test_a_tiff_of_three_colours_is_read_band_by_band_too(tmp_path: Path, planar: int) -> None:
    found = load_image(banded(tmp_path / "a.tif", 3, planar=planar, photometric=2))
    assert np.array_equal(np.moveaxis(found, -1, 0).ravel(), np.arange(144))


def test_a_fourth_band_that_is_alpha_is_dropped(tmp_path: Path) -> None:
    path = banded(tmp_path / "a.tif", 4, photometric=2, alpha=2)
    with pytest.warns(UserWarning, match="alpha dropped"):
        assert load_image(path).shape == (6, 8, 3)
