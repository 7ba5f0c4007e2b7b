from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.clicks.marks import BoxMark, Click
from pipeline.clicks.sam_engine import SamEngine, _points, has_sam, sam_files
from pipeline.config.params import Params
from pipeline.errors import ModelError
from tests.pipeline.clicks.conftest import SIZE
from tests.support.sam_graphs import SIDE, write_sam


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_LOOP_WEIGHTS", str(tmp_path / "weights"))


def test_the_expected_best_mask_at_the_clicks_own_place(
    tmp_path: Path, picture: Path, tiny_params: Params
) -> None:
    write_sam(*sam_files("small"))
    engine = SamEngine(tmp_path, tiny_params, "small")
    assert engine.name == "sam2.1-small"
    found = engine.mask(picture, [Click(36, 24)], 0)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    # A disc of 10 of the square's pixels.
    off = np.hypot((rows - 36) * SIDE / SIZE[0], (columns - 24) * SIDE / SIZE[1])
    assert found[off < 8].all()
    assert not found[off > 12].any()


def test_points_as_the_decoder_calls_them() -> None:
    marks = [Click(1, 2), Click(3, 4, positive=False), BoxMark(5, 6, 7, 8)]
    assert _points(marks) == [(2, 1, 1), (4, 3, 0), (6, 5, 2), (8, 7, 3)]


def test_without_files_it_says_where_they_belong(tmp_path: Path, tiny_params: Params) -> None:
    assert not has_sam("tiny")
    with pytest.raises(ModelError, match=r"sam2\.1_hiera_tiny/encoder\.onnx: no such file"):
        SamEngine(tmp_path, tiny_params)
    write_sam(*sam_files("tiny"))
    assert has_sam("tiny")


def test_other_inputs_are_refused_with_those_expected(tmp_path: Path, tiny_params: Params) -> None:
    write_sam(*sam_files("tiny"), without="has_mask_input")
    with pytest.raises(ModelError, match=r"decoder\.onnx: inputs .*; expected has_mask_input, "):
        SamEngine(tmp_path, tiny_params)


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, tiny_params: Params) -> None:
    write_sam(*sam_files("tiny"))
    sam_files("tiny")[0].write_bytes(b"no graph")
    with pytest.raises(ModelError, match="not a readable ONNX file") as refused:
        SamEngine(tmp_path, tiny_params)
    assert "\n" not in str(refused.value)
