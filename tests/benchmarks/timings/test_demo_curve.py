"""The demo's rounds without services: who answers, and when a curve is what is promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.timings.demo_curve import answer, holds, report
from flows.annotators.simulated import Behaviour
from pipeline import layout
from pipeline.acquisition.pool import Pick
from pipeline.data.formats.images import load_mask, save_mask
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.records.query import write_query
from tests.pipeline.conftest import add_sample

RISES = [(0.3, 0.3), (0.5, 0.2), (0.4, 0.41)]


def rounds(pairs: list[tuple[float, float]], domain: str = "day") -> list[dict[str, Any]]:
    return [
        {"domain": domain, "round": k, "labels": 4 + 6 * k, "baseline": one, "teacher": other}
        for k, (one, other) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (RISES, True),
        ([(0.3, 0.3), (0.4, 0.4)], True),  # at the baseline
        ([(0.3, 0.3), (0.4, 0.39)], False),  # below it
        ([(0.3, 0.4), (0.3, 0.4)], False),  # no rise
        ([(0.3, 0.4), (0.3, 0.5), (0.3, 0.39)], False),  # falls in the end
    ],
)
def test_what_is_promised(pairs: list[tuple[float, float]], expected: bool) -> None:
    assert holds(rounds(pairs)) is expected


def test_the_report_has_a_row_for_each_seed_and_domain() -> None:
    falls = [(0.3, 0.4), (0.3, 0.3)]
    found = [
        {"seed": seed, "cpu_s": 90, "rounds": rounds(RISES) + rounds(falls, "dusk")}
        for seed in (0, 1)
    ]
    lines = report(found).splitlines()
    assert "| 0 | day | 4 10 16 | 0.300 0.500 0.400 | 0.300 0.200 0.410 | yes | 90 |" in lines
    assert "| 1 | dusk | 4 10 | 0.300 0.300 | 0.400 0.300 | no | 90 |" in lines


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_the_person_answers_or_skips(tmp_path: Path, skip: float) -> None:
    """As through Label Studio: without noise the truth, and nothing of what was skipped."""
    root = tmp_path / "root"
    samples = [add_sample(root, f"day/0{n}", "pool", n, masked=n == 0) for n in range(3)]
    write_manifest(root / layout.MANIFEST, samples)
    truth = tmp_path / "truth/day/masks"
    mask_HW = np.full((60, 70), 1, dtype=np.uint8)
    save_mask(truth / "01.png", mask_HW)
    picks = [Pick(sample_id="day/01", score=0.5, reason="", source="strategy")]
    write_query(root / layout.QUERY, picks, num_candidates=2)
    answer(tmp_path, "day", 0, Behaviour(skip=skip))
    masks = {each.sample_id: each.mask for each in read_manifest(root / layout.MANIFEST)}
    assert bool(masks["day/01"]) is not bool(skip)
    assert not masks["day/02"]
    if not skip:
        np.testing.assert_array_equal(load_mask(root / masks["day/01"], 8), mask_HW)
