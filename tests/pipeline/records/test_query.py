from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.acquisition.pool import Pick
from pipeline.errors import DataError
from pipeline.records.query import QueryRow, by_image, parse_query, write_query
from pipeline.records.regions import Box

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


def test_regions_are_rows_of_their_image(tmp_path: Path) -> None:
    picks = [
        Pick(sample_id=name, score=score, reason=f"why {name}", source=source)
        for name, score, source in (
            ("day/b#0,1", 0.9, "strategy"),
            ("day/a#2,0", 0.5, "audit"),
            ("day/b#1,1", 0.4, "strategy"),
        )
    ]
    boxes = {
        "day/b#0,1": Box(8, 0, 8, 6),
        "day/a#2,0": Box(0, 12, 8, 6),
        "day/b#1,1": Box(8, 6, 8, 6),
    }
    regions = {name: (name.split("#")[0], box) for name, box in boxes.items()}
    minutes = dict.fromkeys(boxes, 0.5)
    write_query(tmp_path / "query.csv", picks, num_candidates=8, minutes=minutes, regions=regions)
    text = (tmp_path / "query.csv").read_text()
    assert '1,day/b,0.900000,strategy,"why day/b#0,1","8,0,8,6",,0.50\n' in text
    rows = parse_query(text)
    assert [row.regions for row in rows] == [(box,) for box in boxes.values()]
    first, second = by_image(rows)
    assert (first.rank, first.sample_id, first.score, first.source) == (1, "day/b", 0.9, "strategy")
    assert first.boxes == (Box(8, 0, 8, 6), Box(8, 6, 8, 6))
    assert first.reason == "2 regions, first: why day/b#0,1"
    assert (first.minutes, second.minutes) == (1.0, 0.5)
    assert rows[1].chance == pytest.approx(1 / 8)
    assert (second.rank, second.sample_id, second.source) == (2, "day/a", "audit")
    assert second.reason == "why day/a#2,0"


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
        (HEADER + "1,day/a,0.5,audit,why,all,,\n", "query.csv:2: regions 'all', expected x,y,w,h"),
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
