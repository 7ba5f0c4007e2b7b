"""Arrays by name from .npz files: all that is asked for, or one line with file and remedy."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Arrays = dict[str, NDArray[Any]]


def read_arrays(
    file: Path | bytes,
    names: Collection[str] | None = None,
    *,
    source: str | None = None,
    remedy: str = "`dvc checkout` brings it back, or repeat the stage that wrote it",
) -> Arrays:
    """The arrays of a file, or those of `names` that it has; `source` is what errors call it."""
    called = source or str(file)
    try:
        with np.load(io.BytesIO(file) if isinstance(file, bytes) else file) as arrays:
            wanted = arrays.files if names is None else set(names) & set(arrays.files)
            return {name: np.asarray(arrays[name]) for name in wanted}
    except FileNotFoundError:
        raise DataError(f"{called}: no such file; {remedy}") from None
    except Exception as error:  # of a damaged archive numpy raises whatever it runs into
        words = " ".join(str(error).split())[:100]
        raise DataError(f"{called}: not readable as arrays: {words}; {remedy}") from None


def array_of(arrays: Arrays, name: str, kinds: str, num_axes: int, source: str) -> NDArray[Any]:
    """The array of this name; DataError unless its type is of numpy's `kinds`, with these axes."""
    found = arrays.get(name)
    if found is None or found.dtype.kind not in kinds or found.ndim != num_axes:
        what = "nothing" if found is None else f"{found.dtype} of shape {found.shape}"
        raise DataError(
            f"{source}: array {name[:60]!r} is {what}, expected {num_axes} axes of kind "
            f"{' or '.join(kinds)}; `dvc checkout` brings it back, or repeat the stage"
        )
    return found
