import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.formats.images import is_plain, load_image, load_mask, plain_suffix, save_mask
from pipeline.errors import DataError

SaveExif = Callable[[np.ndarray, Path, int], None]
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


@pytest.fixture(autouse=True)
def _no_warning_unless_expected() -> None:
    warnings.simplefilter("error")


def png(path: Path, depth: int, kind: int, rows: bytes, size: tuple[int, int]) -> Path:
    """A PNG of any bit depth and colour type, which Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, 0)
    data = zlib.compress(rows)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


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
    with pytest.raises(DataError, match=r"a\.tiff: pixels of type 'F'"):
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


INDICES = (GREY % 3).astype(np.uint8)
INDICES_WITH_IGNORE = np.where(GREY > 200, 255, INDICES).astype(np.uint8)


def test_mask_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.png"
    save_mask(path, INDICES_WITH_IGNORE)
    first = path.read_bytes()
    mask = load_mask(path, 3)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, INDICES_WITH_IGNORE)
    assert path.read_bytes()[24:26] == bytes([8, 0])  # 8-bit greyscale
    save_mask(path, INDICES_WITH_IGNORE)
    assert path.read_bytes() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_mask_is_read_as_indices(tmp_path: Path, bits: int) -> None:
    indices = INDICES % 2 if bits == 1 else INDICES
    paletted = Image.fromarray(indices, "P")
    paletted.putpalette(
        list(range(3 * min(2**bits, 256)))[: 3 * 2**bits] if bits < 8 else [7] * 768
    )
    paletted.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[24] == bits
    assert np.array_equal(load_mask(tmp_path / "a.png", 3), indices)


def test_palette_mask_with_a_transparent_class_keeps_its_indices(tmp_path: Path) -> None:
    paletted = Image.fromarray(INDICES, "P")
    paletted.putpalette([0, 0, 0, 0, 200, 0, 0, 0, 200])
    paletted.save(tmp_path / "a.png", transparency=0)
    assert np.array_equal(load_mask(tmp_path / "a.png", 3), INDICES)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (RGB, "8-bit colour"),
        (np.dstack([RGB, GREY]), "8-bit RGBA"),
        (np.dstack([GREY, GREY]), "8-bit greyscale with alpha"),
        (INDICES.astype(np.uint16), "16-bit greyscale"),
        (INDICES > 0, "1-bit greyscale"),
    ],
)
def test_colour_alpha_and_other_depths_of_masks_are_refused(
    tmp_path: Path, pixels: np.ndarray, words: str
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: {words} mask, expected 8-bit class indices"):
        load_mask(tmp_path / "a.png", 3)


def test_four_bit_grey_mask_is_refused_since_viewers_scale_it(tmp_path: Path) -> None:
    rows = b"".join(b"\x00" + bytes([0x01, 0x20]) for _ in range(2))
    with pytest.raises(DataError, match="4-bit greyscale mask"):
        load_mask(png(tmp_path / "a.png", 4, 0, rows, (2, 4)), 3)


def test_unknown_class_values_are_listed(tmp_path: Path) -> None:
    wrong = INDICES_WITH_IGNORE.copy()
    wrong[0, :2] = 3, 7
    Image.fromarray(wrong).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"unknown class values 3, 7, expected 0\.\.2 or 255"):
        load_mask(tmp_path / "a.png", 3)
    assert np.array_equal(load_mask(tmp_path / "a.png", 8), wrong)


def test_jpeg_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(INDICES).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="not a PNG"):
        load_mask(tmp_path / "a.jpg", 3)


def test_rotated_mask_is_refused(tmp_path: Path, save_exif: SaveExif) -> None:
    save_exif(INDICES, tmp_path / "a.png", 6)
    with pytest.raises(DataError, match="EXIF rotation"):
        load_mask(tmp_path / "a.png", 3)


def test_truncated_mask_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 3, (64, 64), dtype=np.uint8)
    save_mask(tmp_path / "a.png", noise)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged or truncated"):
        load_mask(tmp_path / "a.png", 3)


def test_only_uint8_masks_are_saved(tmp_path: Path) -> None:
    for wrong in (INDICES.astype(np.int64), RGB):
        with pytest.raises(ValueError, match="expected uint8 HxW"):
            save_mask(tmp_path / "a.png", wrong)
    assert list(tmp_path.iterdir()) == []


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
