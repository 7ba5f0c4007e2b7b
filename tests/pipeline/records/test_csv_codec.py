"""Every table of records keeps its bytes, whatever writes it, and is read back whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.records.answers import Answer, read_answers, write_answers
from pipeline.records.manifest import Sample, read_manifest, write_manifest
from pipeline.records.query import read_query, write_query
from pipeline.records.regions import Box

SAMPLES = [
    Sample(sample_id="dusk/a", domain="dusk", split="pool", image="data/a.png", image_sha256="1"),
    Sample(
        sample_id="day/b, c",
        domain="day",
        split="val",
        image="data/images/day/b, c.png",
        image_sha256="0f",
        mask="data/masks/day/b.png",
        mask_sha256="1e",
        origin="annotated",
        skips=2,
        left_out='said "blank"',
    ),
]
WITH_REGIONS = [
    Sample(
        sample_id="day/ö",
        domain="day",
        split="pool",
        image="x",
        image_sha256="1",
        regions="0,0,4,3;4,0,4,3",
    )
]
ANSWERS = [
    Answer(
        item_id="day/b/r1",
        source="audit",
        chance=2 / 37,
        mask_sha256="m",
        counts=((0, 0, 12), (0, 254, 3)),
        lead_s=81.5,
        boundary=2 / 3,
        regions=4,
    ),
    Answer(item_id="day/a/r0", source="strategy", chance=None, mask_sha256="", counts=()),
]
PICKS = [
    SimpleNamespace(sample_id="day/a", score=1 / 3, source="audit", reason="by lot, 1 of 8"),
    SimpleNamespace(sample_id="day/b#0,1", score=1, source="strategy", reason='"unsure"'),
]


def write_picks(path: Path, picks: Sequence[Any]) -> None:
    regions = {"day/b#0,1": ("day/b", Box(8, 0, 8, 6))}
    write_query(path, picks, num_candidates=8, minutes={"day/a": 1.005}, regions=regions)


@dataclass(frozen=True)
class Golden:
    write: Callable[[Path, Any], None]
    records: Sequence[Any]
    text: str


GOLDEN = {
    "manifest": Golden(
        write_manifest,
        SAMPLES,
        "sample_id,domain,split,image,image_sha256,mask,mask_sha256,origin,skips,left_out\n"
        '"day/b, c",day,val,"data/images/day/b, c.png",0f,data/masks/day/b.png,1e,annotated,2,'
        '"said ""blank"""\n'
        "dusk/a,dusk,pool,data/a.png,1,,,,0,\n",
    ),
    "manifest with regions": Golden(
        write_manifest,
        WITH_REGIONS,
        "sample_id,domain,split,image,image_sha256,mask,mask_sha256,origin,skips,left_out,regions\n"
        'day/ö,day,pool,x,1,,,,0,,"0,0,4,3;4,0,4,3"\n',
    ),
    "answers": Golden(
        write_answers,
        ANSWERS,
        "item_id,source,chance,mask_sha256,counts,lead_s,boundary,regions\n"
        "day/a/r0,strategy,,,,,,\n"
        "day/b/r1,audit,0.05405405405405406,m,0:0:12 0:254:3,81.5,0.6666666666666666,4\n",
    ),
    "query": Golden(
        write_picks,
        PICKS,
        "rank,sample_id,score,source,reason,regions,chance,minutes\n"
        '1,day/a,0.333333,audit,"by lot, 1 of 8",,0.125000000,1.00\n'
        '2,day/b,1.000000,strategy,"""unsure""","8,0,8,6",,\n',
    ),
    "empty manifest": Golden(
        write_manifest,
        [],
        "sample_id,domain,split,image,image_sha256,mask,mask_sha256,origin,skips,left_out\n",
    ),
}


@pytest.mark.parametrize("golden", GOLDEN.values(), ids=GOLDEN)
def test_the_bytes_of_a_file_are_these(golden: Golden, tmp_path: Path) -> None:
    golden.write(tmp_path / "table.csv", golden.records)
    assert (tmp_path / "table.csv").read_bytes() == golden.text.encode()


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_manifest(path, SAMPLES + WITH_REGIONS)
    assert read_manifest(path) == [SAMPLES[1], *WITH_REGIONS, SAMPLES[0]]
    write_answers(path, ANSWERS)
    assert read_answers(path) == ANSWERS[::-1]
    write_picks(path, PICKS)
    first, second = read_query(path)
    assert (first.score, first.chance, first.minutes, first.regions) == (0.333333, 0.125, 1.0, ())
    assert (second.sample_id, second.chance, second.minutes) == ("day/b", None, None)
    assert second.regions == (Box(8, 0, 8, 6),)
