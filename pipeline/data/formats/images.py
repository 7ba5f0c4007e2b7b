"""Image and mask files as arrays: HxWx3 uint8 RGB, HxW uint8 class indices."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pipeline.errors import DataError
from pipeline.files import open_regular, replacing
from pipeline.row_bands import row_bands
from pipeline.types import IGNORE, MOST_MEGAPIXELS

EXIF_ORIENTATION = 0x0112
# Tags of a TIFF (TIFF 6.0 specification, section 8 and 18), and what some of their values mean.
TIFF_TAGS = (258, 262, 277, 338, 339)
TIFF_BITS_PER_SAMPLE, TIFF_PHOTOMETRIC, TIFF_SAMPLES, TIFF_EXTRA, TIFF_FORMAT = TIFF_TAGS
TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_BANDS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # of each photometric interpretation
TIFF_NO_ALPHA, TIFF_FLOAT = 0, 3
# One picture per file; what a browser cannot show is stored as PNG by ingest.
IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")
EIGHT_BIT_MODES = ("RGB", "L", "P", "1", "CMYK", "YCbCr", "RGBA", "LA", "PA", "RGBX", "RGBa", "La")
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# Of 512x896 in 4 ms instead of the 140 of what packs best, for a quarter more bytes.
QUICK_PNG: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
PLAIN_SUFFIX = {"JPEG": ".jpg", "PNG": ".png"}
# PNG colour types (PNG specification, IHDR).
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KINDS = {0: "greyscale", 2: "colour", 3: "palette", 4: "greyscale with alpha", 6: "RGBA"}
PNG_GREY, PNG_COLOUR, PNG_PALETTE, NO_PNG = 0, 2, 3, -1
MEGAPIXEL = 10**6
WEBP_MEGAPIXELS = 16.0
# A row is read whole, and each takes some microseconds however short it is.
MOST_SIDE_PX = 1 << 20
# Pillow's own bound is 179 megapixels, and it calls a large photograph an attack. It refuses at
# twice what is said here, after ours did.
Image.MAX_IMAGE_PIXELS = round(MOST_MEGAPIXELS * MEGAPIXEL)
# What Pillow raises on damaged files, beside OSError.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)


class TooLargeError(DataError):
    """An image of more pixels than may be read here."""


class PixelStrip(NamedTuple):
    """Some rows of an image."""

    size: tuple[int, int]
    """Height and width of the whole."""
    first: int
    """The first of the rows."""
    pixels_RWC: NDArray[np.uint8]


def load_image(path: Path, max_megapixels: float = MOST_MEGAPIXELS) -> NDArray[np.uint8]:
    """Image as HxWx3 uint8 RGB, upright: EXIF rotation is applied once.

    16 bits are scaled by the file's depth (65535 becomes 255; 12-bit data in a 16-bit file stays
    dark, with a UserWarning); alpha is dropped with a UserWarning. DataError names the file.
    Files from outside are read with `max_megapixels`; those of a workspace were measured as they
    came in.
    """
    pixels_HWC = np.empty((0, 0, 3), dtype=np.uint8)
    for size, first, pixels_RWC in image_strips(path, max_megapixels):
        if first == 0:
            pixels_HWC = np.empty((*size, 3), dtype=np.uint8)
        pixels_HWC[first : first + len(pixels_RWC)] = pixels_RWC
    return pixels_HWC


def image_strips(path: Path, max_megapixels: float = MOST_MEGAPIXELS) -> Iterator[PixelStrip]:
    """The rows of `load_image`, some at a time, beside which no copy of the whole stands.

    What Pillow decodes is in memory all the same: 4 bytes a pixel, 1 or 2 where it is grey.
    """
    _refuse_bands(path)
    with _opened(path, IMAGE_FORMATS, max_megapixels) as image:
        # MPO is how telephones save a JPEG with a second picture inside: the first is the photo.
        if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
            raise DataError(f"{path}: {frames} frames, expected one; split the file")
        if image.mode not in EIGHT_BIT_MODES + SIXTEEN_BIT_MODES:
            raise DataError(
                f"{path}: pixels of type {image.mode!r} have no known range, expected 8 or 16 "
                "bits per channel; convert it"
            )
        bits = _bits_per_sample(image)
        # Before any conversion, which loses the EXIF of a TIFF.
        ImageOps.exif_transpose(image, in_place=True)  # not in place it copies what is upright too
        convert: Callable[[Image.Image], NDArray[np.uint8]] = _rgb
        if image.mode in SIXTEEN_BIT_MODES:
            convert = partial(_eight_bit, full=2**bits - 1)
            _warn_of_twelve_bits(path, image, bits)
        elif image.has_transparency_data:
            warnings.warn(f"{path}: alpha dropped", UserWarning, stacklevel=2)
        for first, rows in _row_images(image):
            yield PixelStrip((image.height, image.width), first, convert(rows))


def _refuse_bands(path: Path) -> None:
    """DataError for a TIFF of other bands than grey or RGB, or of floating-point values.

    Of four bands Pillow would give the first three, of five it calls the file no image.
    """
    tags = _tiff_tags(path)
    if not tags:
        return
    bands, bits = tags.get(TIFF_SAMPLES, (1,))[0], max(tags.get(TIFF_BITS_PER_SAMPLE, (1,)))
    colours = TIFF_BANDS.get(tags.get(TIFF_PHOTOMETRIC, (1,))[0], bands)
    no_alpha = tags.get(TIFF_EXTRA, (TIFF_NO_ALPHA,))[0] == TIFF_NO_ALPHA
    if bands > colours + 1 or (bands > colours and no_alpha):
        raise DataError(
            f"{path}: a TIFF of {bands} bands, expected 1 (grey) or 3 (RGB); choose three, for "
            f"example `gdal_translate -b 3 -b 2 -b 1 {path.name} rgb_{path.name}`"
        )
    is_float = TIFF_FLOAT in tags.get(TIFF_FORMAT, ())
    if is_float or bits > 16:
        raise DataError(
            f"{path}: a TIFF of {bits}-bit {'floating-point' if is_float else 'whole'} numbers in "
            f"{bands} band(s), which have no known range, expected 8 or 16 bits; say what is black "
            f"and white: `gdal_translate -ot Byte -scale BLACK WHITE 0 255 {path.name} "
            f"byte_{path.name}`"
        )


def _tiff_tags(path: Path) -> dict[int, tuple[int, ...]]:
    """Whole numbers of the first picture's tags; none where it is no TIFF or cannot be read."""
    try:
        with open_regular(path) as file:
            head = file.read(8)
            if not head.startswith(TIFF_BEGINNINGS):
                return {}
            if b"+" in head[:4]:  # a BigTIFF
                head += file.read(8)
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            file.seek(tags.next)
            tags.load(file)
            found = {tag: tags[tag] for tag in TIFF_TAGS if tag in tags}
    except (DataError, *DAMAGE):  # others say what is wrong with it
        return {}
    values = {tag: each if isinstance(each, tuple) else (each,) for tag, each in found.items()}
    return {
        tag: each for tag, each in values.items() if each and all(type(one) is int for one in each)
    }


def _row_images(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    for rows in row_bands(image.height, image.width):
        yield rows.start, image.crop((0, rows.start, image.width, rows.stop))


def _rgb(rows: Image.Image) -> NDArray[np.uint8]:
    if rows.has_transparency_data:
        # Palette and grey transparency only becomes a channel by way of RGBA.
        rows = rows.convert("RGBA")
    return np.asarray(rows.convert("RGB"))


def _bits_per_sample(image: Image.Image) -> int:
    if image.mode in SIXTEEN_BIT_MODES and image.format == "TIFF":
        return int(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (16,))[0])  # type: ignore[attr-defined]
    return 16


def _warn_of_twelve_bits(path: Path, image: Image.Image, bits: int) -> None:
    largest = max(int(np.asarray(rows).max()) for _, rows in _row_images(image))
    if bits == 16 and 255 < largest <= 4095:
        warnings.warn(
            f"{path}: values reach {largest} of {2**bits - 1}; if this is 12-bit data it stays "
            "dark: multiply it by 16",
            UserWarning,
            stacklevel=3,
        )


def _eight_bit(rows: Image.Image, full: int) -> NDArray[np.uint8]:
    grey_RW = np.asarray(rows).astype(np.uint32)
    eight_RW = ((grey_RW * 255 + full // 2) // full).astype(np.uint8)
    return np.repeat(eight_RW[:, :, None], 3, axis=2)


def is_plain(path: Path) -> bool:
    """Whether the header shows what every later reader expects: an upright 8-bit RGB JPEG or PNG.

    DataError when it is not an image.
    """
    with _opened(path, IMAGE_FORMATS) as image:
        upright = image.getexif().get(EXIF_ORIENTATION, 1) == 1
        eight_bit = image.format == "JPEG" or _png_header(path) == (8, PNG_COLOUR)
        opaque = image.mode == "RGB" and not image.has_transparency_data
        single = getattr(image, "n_frames", 1) == 1
        return image.format in PLAIN_SUFFIX and upright and eight_bit and opaque and single


def plain_suffix(path: Path) -> str:
    """What a plain file should be called by its content: ".jpg" or ".png"."""
    return PLAIN_SUFFIX["JPEG" if _png_header(path)[1] == NO_PNG else "PNG"]


def load_mask(
    path: Path, num_classes: int, max_megapixels: float = MOST_MEGAPIXELS
) -> NDArray[np.uint8]:
    """Mask as HxW uint8 class indices, 255 = ignore; a palette PNG is read as its indices.

    DataError: not an 8-bit single-channel or palette PNG, values outside 0..num_classes-1, or
    larger than `max_megapixels`, as of `load_image`.
    """
    depth, kind = _png_header(path)
    if kind == NO_PNG:
        raise DataError(f"{path}: not a PNG, expected a PNG of class indices")
    if not (kind == PNG_PALETTE or (kind == PNG_GREY and depth == 8)):
        raise DataError(
            f"{path}: {depth}-bit {PNG_KINDS.get(kind, 'unknown')} mask, expected 8-bit "
            "class indices in one channel or a palette"
        )
    with _opened(path, ("PNG",), max_megapixels) as image:
        if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
            raise DataError(
                f"{path}: mask with an EXIF rotation, which viewers apply differently; "
                "save it upright without EXIF"
            )
        mask_HW = np.asarray(image)
    counts = value_counts(mask_HW)
    unknown = [int(v) for v in np.flatnonzero(counts) if v >= num_classes and v != IGNORE]
    if unknown:
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        raise DataError(
            f"{path}: unknown class values {shown}, expected 0..{num_classes - 1} or {IGNORE}"
        )
    return mask_HW


def value_counts(mask_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels have each of the 256 values."""
    counts = np.zeros(256, dtype=np.int64)
    for rows in row_bands(*mask_HW.shape):  # bincount copies to 8 bytes a pixel
        counts += np.bincount(mask_HW[rows].ravel(), minlength=256)
    return counts


def save_mask(path: Path, mask_HW: NDArray[np.uint8], *, small: bool = True) -> None:
    """Write class indices as an 8-bit greyscale PNG, whole or not at all; equal masks, equal bytes.

    `small`: packed as well as can be, for what people painted and nobody makes again; else as
    QUICK_PNG says. ValueError unless `mask_HW` is a two-dimensional uint8 array.
    """
    if mask_HW.dtype != np.uint8 or mask_HW.ndim != 2:
        raise ValueError(f"mask is {mask_HW.dtype} {mask_HW.shape}, expected uint8 HxW")
    with replacing(path) as beside:
        how: dict[str, Any] = {"optimize": True} if small else QUICK_PNG
        Image.fromarray(mask_HW).save(beside, format="PNG", **how)


@contextmanager
def _opened(
    path: Path, formats: tuple[str, ...], max_megapixels: float = MOST_MEGAPIXELS
) -> Iterator[Image.Image]:
    """The image, its header read; whatever is wrong with the file is one DataError naming it."""
    try:
        # From a file, not a path: by path Pillow 13 maps an uncompressed TIFF into memory with the
        # sides already swapped by its EXIF rotation, and scrambles it.
        with open_regular(path) as file:
            _require_small_webp(path, file)
            with Image.open(file, formats=formats) as image:
                _require_size(path, image.width, image.height, max_megapixels)
                yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image ({', '.join(formats)})") from None
    except Image.DecompressionBombError:
        raise TooLargeError(
            f"{path}: more than {MOST_MEGAPIXELS:g} megapixels, which nothing here can read; cut "
            "it into parts"
        ) from None
    except DAMAGE as error:
        raise DataError(f"{path}: damaged or truncated: {error}") from None


def _require_size(path: Path, width: int, height: int, max_megapixels: float) -> None:
    """By the header, before a pixel is decoded: a file of some kB may hold gigabytes."""
    megapixels = width * height / MEGAPIXEL
    if megapixels > max_megapixels:
        raise TooLargeError(
            f"{path}: {width}x{height} are {megapixels:.1f} megapixels, more than the "
            f"{max_megapixels:g} of loop.max_megapixels in params.yaml; raise it (at most "
            f"{MOST_MEGAPIXELS:g}; reading takes 7 bytes a pixel: "
            f"{7 * megapixels / 1000:.1f} GB), or bring smaller or cut images"
        )
    if max(width, height) > MOST_SIDE_PX:
        raise DataError(
            f"{path}: {width}x{height}: a side of more than {MOST_SIDE_PX} pixels; cut the image "
            "into parts"
        )


def _require_small_webp(path: Path, file: BinaryIO) -> None:
    """Before Pillow opens it, which makes a decoder that holds all frames several times.

    A file of 34 bytes may take gigabytes: at once where freed memory is kept (`settle_torch`).
    """
    width, height = webp_size(file.read(30))
    file.seek(0)
    megapixels = width * height / MEGAPIXEL
    if megapixels > WEBP_MEGAPIXELS:
        raise TooLargeError(
            f"{path}: {width}x{height} are {megapixels:.1f} megapixels, of a WEBP at most "
            f"{WEBP_MEGAPIXELS:g} are read; convert it to PNG or JPEG"
        )


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height that the first 30 bytes of a file say; (0, 0) where it is no WEBP.

    The canvas of an extended file, else the frame (RFC 9649, sections 2.5 to 2.7 and 3.4).
    """
    if len(head) < 30 or (head[:4], head[8:12]) != (b"RIFF", b"WEBP"):
        return 0, 0
    kind, side = head[12:16], (1 << 14) - 1
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & side), 1 + (bits >> 14 & side)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & side, height & side


def _png_header(path: Path) -> tuple[int, int]:
    """Bit depth and colour type; (0, NO_PNG) when the file is no PNG.

    Read from the file, since Pillow hides 16-bit colour and scales 1-, 2- and 4-bit grey.
    """
    try:
        with open_regular(path) as file:
            head = file.read(26)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if len(head) < 26 or not head.startswith(PNG_SIGNATURE):
        return 0, NO_PNG
    return head[24], head[25]


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, read from its header."""
    with Image.open(path) as image:
        return image.height, image.width
