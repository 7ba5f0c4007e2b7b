from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.acquisition.pool import Pick
from pipeline.errors import DataError
from pipeline.query import QueryRow, parse_query, write_query

OLD_HEADER = "rank,sample_id,score,source,reason,regions\n"
HEADER = OLD_HEADER.replace("\n", ",chance,minutes\n")


def test_a_query_survives_the_file(tmp_path: Path) -> None:
    reason = 'uncertain (entropy 0.63, top 4 of 120); "far", they say'
    picks = [
        Pick(sample_id="day/b", score=0.63, reason=reason, source="strategy"),
        Pick(sample_id="day/a", score=0.1234567, reason="random audit pick", source="audit"),
    ]
    path = tmp_path / "query.csv"
    write_query(path, picks, num_candidates=40, minutes={"day/b": 2.345})
    assert parse_query(path.read_text()) == [
        QueryRow(
            rank=1, sample_id="day/b", score=0.63, source="strategy", reason=reason, minutes=2.35
        ),
        QueryRow(
            rank=2,
            sample_id="day/a",
            score=0.123457,
            source="audit",
            reason="random audit pick",
            chance=1 / 40,
        ),
    ]


def test_an_empty_query_is_a_header(tmp_path: Path) -> None:
    write_query(tmp_path / "query.csv", [], num_candidates=0)
    assert (tmp_path / "query.csv").read_text() == HEADER
    assert parse_query(HEADER) == []


def test_a_query_of_an_older_round_is_read(tmp_path: Path) -> None:
    (row,) = parse_query(OLD_HEADER + "1,day/a,0.5,audit,why,\n")
    assert (row.chance, row.minutes) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns"),
        ("rank,sample_id\n", "columns"),
        (HEADER.replace("\n", ",colour\n"), "columns"),
        (HEADER + "x,day/a,0.5,audit,why,,,\n", "query.csv:2: rank 'x', expected a whole number"),
        (HEADER + "2,day/a,0.5,audit,why,,,\n", "rank 2 at place 1"),
        (HEADER + "1,day/a,1.5,audit,why,,,\n", "score '1.5', expected a number in"),
        (HEADER + "1,day/a,nan,audit,why,,,\n", "score 'nan'"),
        (HEADER + "1,day/a,,audit,why,,,\n", "score ''"),
        (HEADER + "1,day/a,0.5,luck,why,,,\n", "source 'luck', expected one of"),
        (HEADER + "1,day/a,0.5,audit,why,,0,\n", "chance '0', expected a number above 0"),
        (HEADER + "1,day/a,0.5,audit,why,,1.1,\n", "chance '1.1'"),
        (HEADER + "1,day/a,0.5,audit,why,,x,\n", "chance 'x'"),
        (HEADER + "1,day/a,0.5,audit,why,,,-1\n", "minutes '-1', expected a number of at least 0"),
        (HEADER + "1,day/a,0.5,audit,why,,,x\n", "minutes 'x'"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_query(text)
