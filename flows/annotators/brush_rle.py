"""Label Studio's brush masks: the run-length code of its browser, in numpy.

A stream of bits, most significant first, over the bytes of an RGBA image:

    count     32   bytes of the image, 4 * height * width
    word      5    bits per value - 1; always 7
    sizes     4x4  bits of a run's length - 1, one per size index: 3, 4, 8, 16
    then per block
    flag      1    1 = one value repeated, 0 = that many values one after another
    size      2    which of the four sizes
    length    n    of the run - 1
    value     8    once (flag 1) or once per byte (flag 0)

and zero bits up to the next whole byte. Brushes paint R = G = B = A, so only alpha is kept.

`encode` gives the bytes the browser gives, so that untouched regions come back identical.
label_studio_sdk.converter.brush.mask2rle differs in two places: it appends one zero byte when the
bits already fill whole bytes, and it keeps the largest size for what is left of a run of more than
65536 values. `decode` takes both forms. The SDK walks bit by bit in Python and takes 12 to 47 times
as long (benchmarks/timings/brush_codec.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import AnnotationError

_COUNT_BITS, _WORD_BITS, _SIZE_BITS = 32, 5, 4
_HEADER_BITS = _COUNT_BITS + _WORD_BITS + 4 * _SIZE_BITS
_WORD = 8
_SIZES = (3, 4, 8, 16)
_OPCODE_BITS = 3  # flag and size index
_MAX_RUN = 1 << _SIZES[-1]
_CHANNELS = 4
# The browser pads to a whole byte (at most 7 bits); the SDK adds up to a byte more.
_MAX_PADDING_BITS = 15
_MAX_BYTES_PER_VALUE = 4  # a lone value costs at most 27 bits

_Ints = npt.NDArray[np.int64]


class _Blocks(NamedTuple):
    lengths: _Ints
    values: npt.NDArray[np.uint8]
    end_bits: _Ints  # where each block ends


def encode(alpha_HW: npt.NDArray[np.uint8]) -> list[int]:
    """Bytes of the code for alpha in [0, 255] (a mask: 0 and 255).

    Raises ValueError on anything but a non-empty uint8 array of two dimensions.
    """
    if alpha_HW.ndim != 2 or alpha_HW.dtype != np.uint8 or not alpha_HW.size:
        raise ValueError(
            f"alpha of shape {alpha_HW.shape} and type {alpha_HW.dtype}: "
            "expected a non-empty array [H, W] of uint8"
        )
    count = alpha_HW.size * _CHANNELS
    if count >> _COUNT_BITS:
        raise ValueError(f"{alpha_HW.size} pixels: the code's count holds at most 2**30")
    lengths, values = _runs(alpha_HW.ravel())
    codes, num_bits = _codes(lengths, values)
    # Every code stands left-aligned in 32 bits; the bits in use, in order, are the stream.
    bits_N32 = np.unpackbits(codes.astype(">u4").view(np.uint8).reshape(-1, 4), axis=1)
    body = bits_N32[np.arange(32) < num_bits[:, None]]
    return np.packbits(np.concatenate([_header(count), body])).tolist()


def decode(rle: Any, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Alpha [height, width] of a code; AnnotationError on anything that is not a whole code.

    Memory is bounded by the size expected and the length of `rle`, never by what `rle` claims.
    """
    data = _as_bytes(rle)
    count = height * width * _CHANNELS
    blocks = _read_blocks(data, _read_header(data, count=count))
    totals = np.cumsum(blocks.lengths)
    last = int(np.searchsorted(totals, count))
    if last == len(totals):
        seen = int(totals[-1]) if len(totals) else 0
        raise AnnotationError(f"brush mask is truncated: {seen} of {count} values")
    if totals[last] != count:
        raise AnnotationError(f"brush mask runs over its end: {totals[last]} values for {count}")
    left_bits = len(data) * 8 - int(blocks.end_bits[last])
    if left_bits > _MAX_PADDING_BITS:
        raise AnnotationError(f"brush mask goes on for {left_bits} bits after its {count} values")
    return _alpha(blocks.lengths[: last + 1], blocks.values[: last + 1]).reshape(height, width)


def _runs(values: npt.NDArray[np.uint8]) -> tuple[_Ints, npt.NDArray[np.uint8]]:
    """Length in bytes of RGBA and value of each run of equal pixels, cut at _MAX_RUN."""
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = np.diff(np.append(starts, values.size)) * _CHANNELS
    pieces = -(-lengths // _MAX_RUN)
    cut = np.full(int(pieces.sum()), _MAX_RUN, dtype=np.int64)
    cut[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _MAX_RUN
    return cut, np.repeat(values[starts], pieces)


def _codes(
    lengths: _Ints, values: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """Each run as bits left-aligned in 32, and how many of them count."""
    index = np.searchsorted(1 << np.asarray(_SIZES), lengths)
    size = np.asarray(_SIZES)[index]
    code = ((4 + index) << size | (lengths - 1)) << _WORD | values
    num_bits = _OPCODE_BITS + size + _WORD
    return (code << (32 - num_bits)).astype(np.uint32), num_bits.astype(np.uint8)


def _header(count: int) -> npt.NDArray[np.uint8]:
    text = f"{count:032b}{_WORD - 1:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    return np.frombuffer(text.encode(), dtype=np.uint8) - ord("0")


def _as_bytes(rle: Any) -> bytes:
    if not isinstance(rle, list):
        raise AnnotationError(f"brush mask is {type(rle).__name__}, expected a list of bytes")
    try:
        if bool in set(map(type, rle)):  # to Python a number, to JSON none
            raise TypeError
        return bytes(rle)
    except (TypeError, ValueError, OverflowError):
        wrong = next(v for v in rle if type(v) is not int or not 0 <= v <= 255)
        raise AnnotationError(
            f"brush mask holds {str(wrong)[:40]!r}, expected whole numbers from 0 to 255"
        ) from None


def _read_header(data: bytes, *, count: int) -> tuple[int, ...]:
    """The four run sizes; the count must be that of the image."""
    if len(data) * 8 < _HEADER_BITS:
        raise AnnotationError(f"brush mask is truncated: {len(data)} bytes")
    header = int.from_bytes(data[:7], "big") >> (7 * 8 - _HEADER_BITS)
    sizes = tuple((header >> shift & 15) + 1 for shift in (12, 8, 4, 0))
    word = (header >> 16 & 31) + 1
    found = header >> 21
    if word != _WORD:
        raise AnnotationError(f"brush mask of {word}-bit values, expected {_WORD}")
    if found != count:
        raise AnnotationError(f"brush mask of {found} values, expected {count} (4 per pixel)")
    if len(data) > _MAX_BYTES_PER_VALUE * count + 16:
        raise AnnotationError(f"brush mask of {len(data)} bytes is too long for {count} values")
    return sizes


def _read_blocks(data: bytes, sizes: tuple[int, ...]) -> _Blocks:
    """Every block that is whole; what follows the last one may be padding or a cut."""
    starts, literals = _walk(data, sizes)
    at = np.asarray(starts, dtype=np.int64)
    size = np.asarray(sizes)[_read(data, at + 1, 2)]
    lengths = _read(data, at + _OPCODE_BITS, size) + 1
    values_at = at + _OPCODE_BITS + size
    if literals:
        lengths, values_at = _spell_out(lengths, values_at, literals)
    return _Blocks(lengths, _read(data, values_at, _WORD).astype(np.uint8), values_at + _WORD)


def _walk(data: bytes, sizes: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Bit at which each whole block starts, and which of them (by position) are literal.

    Only this is sequential: a block's place depends on the ones before. A run's own three first
    bits give its length, so those are looked up for all places at once.
    """
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    opcodes = bits[:-2] * 4 + bits[1:-1] * 2 + bits[2:]
    run_bits = np.asarray([0, 0, 0, 0, *(_OPCODE_BITS + n + _WORD for n in sizes)], dtype=np.uint8)
    steps = run_bits[opcodes].tobytes()  # indexing bytes is the fastest walk Python has
    num_bits = len(bits)
    starts: list[int] = []
    literals: list[int] = []
    at = _HEADER_BITS
    while at + _OPCODE_BITS <= num_bits:
        step = steps[at]
        if not step:
            size = sizes[int(opcodes[at])]
            length_end = at + _OPCODE_BITS + size
            if length_end > num_bits:
                break
            step = _OPCODE_BITS + size + _WORD * (_read_one(data, length_end - size, size) + 1)
            literals.append(len(starts))
        if at + step > num_bits:
            break
        starts.append(at)
        at += step
    if literals and literals[-1] == len(starts):
        literals.pop()  # the block that did not fit
    return starts, literals


def _spell_out(lengths: _Ints, values_at: _Ints, literals: list[int]) -> tuple[_Ints, _Ints]:
    """Literal blocks as single values, so that what is left is runs alone."""
    rows = np.ones(len(lengths), dtype=np.int64)
    rows[literals] = lengths[literals]
    lengths[literals] = 1
    block = np.repeat(np.arange(len(rows)), rows)
    place = np.arange(len(block)) - np.repeat(np.cumsum(rows) - rows, rows)
    return lengths[block], values_at[block] + _WORD * place


def _read_one(data: bytes, at: int, num_bits: int) -> int:
    window = int.from_bytes(data[at >> 3 : (at >> 3) + 3].ljust(3, b"\0"), "big")
    return window >> (24 - (at & 7) - num_bits) & ((1 << num_bits) - 1)


def _read(data: bytes, at: _Ints, num_bits: _Ints | int) -> _Ints:
    """Fields of at most 16 bits, one at each place: they lie within three bytes."""
    padded = np.frombuffer(data + b"\0\0", dtype=np.uint8).astype(np.int64)
    byte = at >> 3
    window = padded[byte] << 16 | padded[byte + 1] << 8 | padded[byte + 2]
    return window >> (24 - (at & 7) - num_bits) & ((1 << num_bits) - 1)


def _alpha(lengths: _Ints, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Every fourth value, flat."""
    if not (lengths % _CHANNELS).any():
        return np.repeat(values, lengths // _CHANNELS)
    return np.repeat(values, lengths)[_CHANNELS - 1 :: _CHANNELS]
