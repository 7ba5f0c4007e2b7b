"""Arrays from files are of the type and the axes that were asked for, or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.array_files import array_of, read_arrays
from pipeline.errors import DataError


@pytest.mark.parametrize(
    ("kinds", "num_axes", "name"), [("f", 1, "rows"), ("i", 2, "rows"), ("f", 2, "columns")]
)
def test_an_array_of_another_kind_is_named(
    tmp_path: Path, kinds: str, num_axes: int, name: str
) -> None:
    np.savez(tmp_path / "a.npz", rows=np.zeros((2, 3)))
    arrays = read_arrays(tmp_path / "a.npz")
    assert array_of(arrays, "rows", "f", 2, "a.npz").shape == (2, 3)
    with pytest.raises(DataError, match=rf"a.npz: array '{name}' is .*expected {num_axes} axes"):
        array_of(arrays, name, kinds, num_axes, "a.npz")
