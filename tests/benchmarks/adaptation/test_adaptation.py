"""The adaptation benchmark: its plan, its junk, its table. The training itself is pipeline's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.adaptation import adaptation_report
from benchmarks.adaptation import pilots as adaptation_pilots
from benchmarks.adaptation import trainings as adaptation
from benchmarks.adaptation.junk import SHARE, write_junk
from benchmarks.camvid.day_and_dusk import split_rows
from pipeline.data.quality import BLANK_BELOW, BLURRED_BELOW, look_at

BASE, ALL_LABELS = {0: 0.30, 1: 0.40}, {0: 0.40, 1: 0.50}


def new_result(kind: str, labels: int, seed: int, dusk: float) -> dict[str, object]:
    facts = {"kind": kind, "labels": labels, "seed": seed, "steps": 300}
    return {**facts, "val": {"day": 0.5, "dusk": dusk}}


def test_the_day_model_comes_first_for_all_others_start_from_it() -> None:
    runs = adaptation.plan(seeds=3)
    for seed in range(3):
        own = [run for run in runs if run.seed == seed]
        assert own[0].kind == "as_is"
        assert {run.labels for run in own if run.kind == "random"} == {4, 8, 16}
    assert len({run.name for run in runs}) == len(runs)
    assert {run.kind for run in runs} == set(adaptation_report.WORDS)


def test_the_share_of_the_gap_is_of_seeds_that_have_all_three() -> None:
    some = {0: 0.38, 1: 0.47, 2: 0.9}
    assert adaptation_report.closed_share(BASE, some, ALL_LABELS) == pytest.approx(0.75)
    assert adaptation_report.closed_share(BASE, some, BASE) is None
    assert adaptation_report.gains(some, BASE) == pytest.approx([0.08, 0.07])


def test_the_table_pairs_seeds_and_says_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation_report, "RESULTS", tmp_path)
    found = [new_result("as_is", 0, s, value) for s, value in BASE.items()]
    found += [new_result("longer", 0, s, value + 0.02) for s, value in BASE.items()]
    found += [new_result("unlabelled", 0, s, value + 0.03) for s, value in BASE.items()]
    found += [new_result("all", 42, s, value) for s, value in ALL_LABELS.items()]
    found += [new_result("herding", 8, s, value + 0.08) for s, value in BASE.items()]
    adaptation_report.write_report(found)
    page = (tmp_path / "adaptation.md").read_text()
    assert "(b) - (a): +3.0 +- 0.0; asked for: +2 or more." in page
    assert "(c) at 8 closes 80% of the gap;" in page
    assert "(c) at 8 closes 75% of the gap from (a') to (e)" in page
    assert "## test" not in page
    assert (tmp_path / "adaptation.svg").exists()


def test_a_fifth_of_the_pool_is_junk_of_three_kinds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pool, foreign = [tmp_path / f"{at:02}.png" for at in range(24)], [tmp_path / "cells.png"]
    for path in [*pool, *foreign]:
        Image.fromarray(rng.integers(0, 255, (96, 120, 3), dtype=np.uint8)).save(path)
    stems = write_junk(tmp_path, pool, foreign)
    assert len(stems) / (len(pool) + len(stems)) == SHARE
    images = [Image.open(tmp_path / f"{stem}.png") for stem in stems]
    assert {image.size for image in images} == {(120, 96)}
    covered, blurred, scene = (look_at(np.asarray(image)) for image in images[:3])
    assert covered.contrast < BLANK_BELOW
    assert blurred.sharpness < BLURRED_BELOW * scene.sharpness
    assert np.array_equal(np.asarray(images[2]), np.asarray(Image.open(foreign[0])))


def test_a_change_is_set_beside_the_day_model_of_its_seed_and_block() -> None:
    found, change = {}, "without cross_domain_mix"
    for block, base in ((0, 0.3), (1, 0.5)):
        for day, gain in zip(adaptation_pilots.DAY_MODELS, (0.01, 0.02, 0.03), strict=True):
            run = adaptation.AdaptationRun(kind="herding", labels=8, seed=day.seed, change=change)
            found[adaptation_pilots.named(block, day)] = {"day": 0.4, "dusk": base}
            found[adaptation_pilots.named(block, run)] = {"day": 0.39, "dusk": base + gain}
    row = f"| {change} | +2.0 +- 0.9 | -1.0 +- 0.0 |  |  |"
    assert row in "\n".join(adaptation_pilots.page(found))
    del found[adaptation_pilots.named(1, run)]
    assert "+1.8 +- 0.8 (5 of 6)" in "\n".join(adaptation_pilots.page(found))


def test_a_change_leaves_the_rest_of_the_first_default() -> None:
    changed = adaptation_pilots.over_base({"adapt": {"fourier_beta": 0.1}})
    assert changed["adapt"] == {"cross_domain_mix": True, "fourier_beta": 0.1}
    assert changed["train"] == {"steps": 150}


def test_another_block_of_dusk_can_be_held_out(tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    stems = [f"{at:02}" for at in range(62)]
    table.write_text("id,domain,split\n" + "".join(f"{stem},dusk,train\n" for stem in stems))
    held = [
        [stem for stem, split in split_rows(table, "dusk", block).items() if split == "val"]
        for block in range(3)
    ]
    assert held == [stems[:20], stems[20:40], stems[40:60]]
    assert split_rows(table, "dusk") == split_rows(table, "dusk", 2)
