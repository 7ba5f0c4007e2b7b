"""Nothing that people bring may hang, or take memory and time without end."""

import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.formats import read_classes, read_splits
from pipeline.data.formats.images import load_image, load_mask, webp_size
from pipeline.data.names import MAX_STEM, RESERVED_STEMS, near_stem
from pipeline.errors import DataError
from pipeline.types import MOST_MEGAPIXELS
from tests.pipeline.data.folders import Folder, ingest, refused

GREY, COLOUR = 0, 2
# KiB that reading an image adds to the largest memory of a process.
PEAK_OF_READING = """
import sys
from pathlib import Path

from pipeline.data.formats.images import load_image


def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


before = peak()
load_image(Path(sys.argv[1]))
print(peak() - before)
"""


def large(path: Path, width: int, height: int, kind: int = COLOUR) -> Path:
    """A PNG of which the header alone says how large it is; its pixels would follow."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("where", ["images", "masks"])
def test_what_is_no_file_is_refused_and_never_waited_for(folder: Folder, where: str) -> None:
    folder.image("a.png")
    folder.mask("a.png")
    place = folder.root / where
    os.mkfifo(place / "fifo.png")
    (place / "fifo_link.png").symlink_to("fifo.png")
    (place / "zero.png").symlink_to("/dev/zero")
    here = Path.cwd()
    os.chdir(place)  # the name of a socket has at most 107 bytes
    try:
        listening(Path("socket.png"))
    finally:
        os.chdir(here)
    message = refused(folder)
    assert message.startswith("4 file(s)")
    for said in ("fifo.png: a FIFO", "fifo_link.png: a FIFO", "zero.png: a device", "a socket"):
        assert said in message


def test_tables_are_regular_files_of_a_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "classes.csv")
    for read in (read_classes, read_splits):
        with pytest.raises(DataError, match=r"classes\.csv: a FIFO, expected a regular file"):
            read(tmp_path / "classes.csv")
        with pytest.raises(DataError, match="/dev/zero: a device"):
            read(Path("/dev/zero"))
    monkeypatch.setattr("pipeline.reading.LIMIT_BYTES", 10)
    (tmp_path / "long.csv").write_text("a\n" * 10)
    with pytest.raises(DataError, match="20 bytes, expected at most 10"):
        read_classes(tmp_path / "long.csv")


@pytest.mark.parametrize(("width", "height"), [(14_000, 13_000), (30_000, 30_000), (1, 65_000_000)])
def test_a_large_image_is_refused_by_its_header_with_the_knob(
    folder: Folder, width: int, height: int
) -> None:
    large(folder.images / "a.png", width, height)
    message = refused(folder)
    assert f"a.png: {width}x{height} are {width * height / 1e6:.1f} megapixels" in message
    assert "64 of loop.max_megapixels" in message
    assert "attack" not in message


def test_a_large_mask_is_refused_as_well(folder: Folder) -> None:
    folder.image("a.png")
    large(folder.masks / "a.png", 14_000, 13_000, GREY)
    assert "loop.max_megapixels" in refused(folder)


def test_the_limit_is_a_knob(folder: Folder) -> None:
    folder.image("a.png", width=1200, height=1000)
    assert "1200x1000 are 1.2 megapixels, more than the 1 of" in refused(folder, max_megapixels=1)
    assert ingest(folder, max_megapixels=1.2).num_images == 1


def test_a_webp_whose_decoder_would_take_gigabytes_is_refused(folder: Folder) -> None:
    folder.images.mkdir(exist_ok=True)
    Image.new("RGB", (5000, 4000)).save(folder.images / "a.webp", lossless=True)
    assert "5000x4000 are 20.0 megapixels, of a WEBP at most 16 are read" in refused(folder)


@pytest.mark.parametrize("kind", ["lossless", "lossy", "extended"])
def test_no_decoder_is_made_for_a_large_webp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Making it takes 8 bytes a pixel where memory is not fresh: 1.7 GB for 48 bytes."""
    path = tmp_path / "a.webp"
    picture = Image.effect_noise((33, 21), 60).convert("RGB")
    picture.save(path, lossless=kind != "lossy", **({"xmp": b"<x/>"} if kind == "extended" else {}))
    raw = bytearray(path.read_bytes())
    assert webp_size(bytes(raw[:30])) == (33, 21)
    if kind == "lossless":
        raw[21:25] = (14455 | 14455 << 14).to_bytes(4, "little")
    else:
        size = (14456).to_bytes(2, "little") * 2
        raw[24:30] = (14455).to_bytes(3, "little") * 2 if kind == "extended" else raw[24:26] + size
    path.write_bytes(raw)
    monkeypatch.setattr("PIL._webp.WebPAnimDecoder", lambda _: pytest.fail("a decoder was made"))
    with pytest.raises(DataError, match=r"14456x14456 are 209\.0 megapixels, of a WEBP at most 16"):
        load_image(path)


@pytest.mark.parametrize(("width", "height"), [(2_000_000, 3), (3, 2_000_000)])
def test_an_image_of_endless_rows_or_columns_is_refused(
    folder: Folder, width: int, height: int
) -> None:
    large(folder.images / "a.png", width, height)
    assert f"{width}x{height}: a side of more than 1048576 pixels; cut" in refused(folder)


@pytest.mark.programs
@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "tif"), ("LA", "png"), ("P", "gif")])
def test_reading_an_image_of_few_long_rows_takes_no_copies_of_it(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    """8 bytes a pixel: what Pillow decodes, and RGB. In a band of 256 rows it took up to 15."""
    width, height = (1 << 20, 32) if suffix != "gif" else ((1 << 16) - 1, 512)
    picture = Image.new(mode, (width, height))
    picture.save(tmp_path / f"a.{suffix}", **({"transparency": 0} if mode == "P" else {}))
    del picture
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEAK_OF_READING, tmp_path / f"a.{suffix}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) * 1024 < 10 * width * height


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_no_knob_reads_more_than_a_machine_holds(tmp_path: Path) -> None:
    for read in (load_image, lambda path: load_mask(path, 2)):
        for side in (22_500, 45_000):
            with pytest.raises(DataError, match=f"{MOST_MEGAPIXELS:g}") as caught:
                read(large(tmp_path / "a.png", side, side, GREY))
            assert "attack" not in str(caught.value)


def test_pixels_are_the_same_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((7, 11), 90).convert("LA").save(path)
    with pytest.warns(UserWarning, match="alpha dropped"):
        whole_HWC = load_image(path)
    monkeypatch.setattr("pipeline.row_bands.PIXELS_AT_ONCE", 30)
    with pytest.warns(UserWarning, match="alpha dropped"):
        assert (load_image(path) == whole_HWC).all()


@pytest.mark.parametrize("name", ["tool.json.png", "TOOL.JSON.jpg", "dot..png", "x" * 201 + ".png"])
def test_names_that_the_loop_or_a_disk_cannot_take_are_refused(folder: Folder, name: str) -> None:
    folder.image(name)
    message = refused(folder)
    assert message.startswith("1 file(s)")
    assert "rename it" in message


def test_any_name_has_a_near_one_that_will_do(folder: Folder) -> None:
    for name in ("tool.json", "dot.", "x" * 240, "two words", "caf\u00e9", *RESERVED_STEMS, "fine"):
        near = near_stem(name)
        assert len(near) < MAX_STEM
        folder.image(f"{near}.png")
    assert near_stem("fine") == "fine"
    assert ingest(folder).num_images == 6


@pytest.mark.parametrize("index", ["255" + "0" * 6, "300000000", "9" * 5000, "1e9"])
def test_an_index_beyond_any_mask_is_refused_at_once(tmp_path: Path, index: str) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(f"index,name\n0,sky\n{index},road\n")
    with pytest.raises(DataError) as caught:
        read_classes(path)
    assert len(str(caught.value)) < 300
    assert "1 problem(s)" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ro\x1bad", r"U\+001B"),
        ("road\x00", r"U\+0000"),
        ("ro\x85ad", r"U\+0085"),
        ("ro\u2028ad", r"U\+2028"),
        ("\u202edaor", r"U\+202E"),
        ("ro\u200bad", r"U\+200B"),
        ("r" * 65, "65 characters, expected at most 64"),
        ("cafe\u0301", "got twice"),
    ],
)
def test_class_names_that_cannot_be_seen_or_shown(tmp_path: Path, name: str, words: str) -> None:
    for text in (f"caf\u00e9\n{name}\nx\n", f"index,name\n0,caf\u00e9\n1,{name}\n2,x\n"):
        path = tmp_path / "classes.csv"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            read_classes(path)


def test_class_names_of_any_script_will_do(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    names = ("Stra\u00dfe <&>", "\u9053\u8def", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
    path.write_text("\n".join(names), encoding="utf-8")
    assert read_classes(path) == names
