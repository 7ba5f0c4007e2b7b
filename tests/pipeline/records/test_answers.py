from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.records.answers import Answer, compare, parse_answers, read_answers, write_answers
from pipeline.types import IGNORE

HEADER = "item_id,source,chance,mask_sha256,counts,lead_s,boundary,regions\n"


def test_answers_survive_the_file_sorted_by_item(tmp_path: Path) -> None:
    scored = Answer(
        item_id="day/b/r1",
        source="audit",
        chance=2 / 37,
        mask_sha256="m",
        counts=((0, 0, 12), (0, 254, 3)),
        lead_s=81.5,
        boundary=2 / 3,
        regions=4,
    )
    silent = Answer(item_id="day/a/r0", source="audit", chance=0.1, mask_sha256="", counts=())
    chosen = Answer(item_id="day/c/r1", source="strategy", chance=None, mask_sha256="n", counts=())
    path = tmp_path / "answers.csv"
    write_answers(path, [scored, chosen, silent])
    assert read_answers(path) == [silent, scored, chosen]
    assert scored.domain == "day"


def test_before_the_first_merge_there_are_none(tmp_path: Path) -> None:
    assert read_answers(tmp_path / "answers.csv") == []


def test_compare_counts_pixels_that_both_know() -> None:
    truth_HW = np.array([[0, 0, 1], [254, IGNORE, 1]], np.uint8)
    predicted_HW = np.array([[0, 1, 1], [0, 0, IGNORE]], np.uint8)
    assert compare(truth_HW, predicted_HW) == ((0, 0, 1), (0, 1, 1), (1, 1, 1), (254, 0, 1))
    assert compare(np.full_like(truth_HW, IGNORE), predicted_HW) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns"),
        ("item_id,source\n", "columns"),
        (HEADER + "day/a/r0,luck,0.1,m,,,,\n", "answers.csv:2: source 'luck', expected one of"),
        (HEADER + "day/a/r0,audit,0,m,,,,\n", "chance '0', expected a number above 0"),
        (HEADER + "day/a/r0,audit,1.5,m,,,,\n", "chance '1.5'"),
        (HEADER + "day/a/r0,audit,nan,m,,,,\n", "chance 'nan'"),
        (HEADER + "day/a/r0,audit,x,m,,,,\n", "chance 'x'"),
        (HEADER + "day/a/r0,audit,0.1,m,0:1,,,\n", "counts '0:1', expected truth:predicted:pixels"),
        (HEADER + "day/a/r0,audit,0.1,m,0:1:-3,,,\n", "counts '0:1:-3'"),
        (HEADER + "day/a/r0,audit,0.1,m,,-2,,\n", "lead_s '-2', expected a number of at least 0"),
        (HEADER + "day/a/r0,audit,0.1,m,,,inf,\n", "boundary 'inf'"),
        (HEADER + "day/a/r0,audit,0.1,m,,1e308,,\n", "lead_s '1e308', expected a number of at"),
        (HEADER + "day/a/r0,audit,0.1,m,,,,many\n", "regions 'many'"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_answers(text)
