"""What the manifest says of images of which regions are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.files import sha256_file
from pipeline.records.manifest import (
    Sample,
    check_files,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from pipeline.records.regions import Box

PLAIN = Sample(
    sample_id="day/a", domain="day", split="pool", image="data/day/images/a.png", image_sha256="0"
)
HEADER = "sample_id,domain,split,image,image_sha256,mask,mask_sha256,origin,skips,left_out"
ROW = "day/a,day,pool,data/day/images/a.png,0,,,,0,"


def test_the_column_of_regions_is_there_where_regions_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, [PLAIN])
    assert path.read_text() == f"{HEADER}\n{ROW}\n"
    assert read_manifest(path) == [PLAIN]
    known = replace(PLAIN, sample_id="day/b", regions="0,0,8,6;8,0,8,6")
    write_manifest(path, [known, PLAIN])
    assert path.read_text().startswith(f"{HEADER},regions\n{ROW},\n")
    assert read_manifest(path) == [PLAIN, known]
    assert known.boxes == (Box(0, 0, 8, 6), Box(8, 0, 8, 6))


def test_the_column_of_open_questions_is_there_where_there_are_some(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    asked = replace(PLAIN, asked=2)
    write_manifest(path, [asked])
    assert path.read_text() == f"{HEADER},asked\n{ROW},2\n"
    assert read_manifest(path) == [asked]
    assert PLAIN.candidate
    assert not asked.candidate
    with pytest.raises(DataError, match=r"data/manifest.csv:2: asked '-1', expected a whole"):
        parse_manifest(f"{HEADER},asked\n{ROW},-1\n")


def test_regions_that_are_no_boxes_are_refused_with_their_line() -> None:
    with pytest.raises(DataError, match=r"data/manifest.csv:2: regions '1,2', expected x,y,w,h"):
        parse_manifest(f'{HEADER},regions\n{ROW},"1,2"\n')


@pytest.mark.parametrize(
    ("changes", "labelled", "unlabelled", "num_answers"),
    [
        ({}, False, True, 0),
        ({"mask": "m", "origin": "ground_truth"}, True, False, 0),
        ({"mask": "m", "origin": "annotated"}, True, False, 1),
        ({"mask": "m", "origin": "annotated", "regions": "0,0,1,1;1,0,1,1"}, True, True, 2),
        ({"skips": 1}, False, True, 1),
        ({"left_out": "blank"}, False, False, 0),
        ({"skips": 1, "regions": "0,0,1,1;1,0,1,1"}, False, True, 2),
        ({"split": "val", "mask": "m", "regions": "0,0,1,1"}, False, False, 1),
    ],
)
def test_an_image_of_which_regions_are_known_teaches_with_and_without_labels(
    changes: dict[str, object], labelled: bool, unlabelled: bool, num_answers: int
) -> None:
    sample = replace(PLAIN, **changes)  # type: ignore[arg-type]
    assert (sample.labelled, sample.unlabelled) == (labelled, unlabelled)
    assert sample.num_answers == num_answers


def test_files_that_are_gone_or_other_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"as it was")
    there = replace(PLAIN, image="a.png", image_sha256=sha256_file(tmp_path / "a.png"))
    check_files(tmp_path, [there])
    (tmp_path / "a.png").write_bytes(b"another")
    with pytest.raises(DataError, match=r"2 file(?s:.)*a.png: differs(?s:.)*b.png: missing"):
        check_files(tmp_path, [replace(there, mask="b.png")])


def test_a_sample_comes_once() -> None:
    with pytest.raises(DataError, match=r"data/manifest.csv:3: sample_id 'day/a', expected an id"):
        parse_manifest(f"{HEADER}\n{ROW}\n{ROW}\n")
