"""Small images to write and to read again."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

SaveExif = Callable[[np.ndarray, Path, int], None]
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]


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
