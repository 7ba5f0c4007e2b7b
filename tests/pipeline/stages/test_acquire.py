"""The stage on files: who is a candidate, how many are asked for, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import layout
from pipeline.campaign.spending import Spending
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import save_mask
from pipeline.errors import ConfigError, DataError
from pipeline.records.answers import Answer, write_answers
from pipeline.records.manifest import Sample, write_manifest
from pipeline.records.query import QueryRow, parse_query
from pipeline.stages import acquire
from pipeline.stages.acquire import run


def sample(name: str, **known: Any) -> Sample:
    domain = name.split("/")[0]
    values = {"split": "pool", "image": f"data/{name}.png", "image_sha256": "0"} | known
    return Sample(sample_id=name, domain=domain, **values)


def params(**acquire: Any) -> Params:
    return parse_params(
        {
            "classes": ["a", "b"],
            "domain": "day",
            "domains": {"day": {}, "dusk": {}},
            "acquire": {"query_size": 4, "strategy": "entropy"} | acquire,
            "loop": {"budget": 10},
        }
    )


def day(num: int = 12) -> list[Sample]:
    return [sample(f"day/{place:02d}") for place in range(num)]


def write_workspace(root: Path, samples: list[Sample], *, scored: bool = True) -> None:
    """The later a sample's id, the more uncertain it is; each is alone on its own axis."""
    write_manifest(root / layout.MANIFEST, samples)
    (root / layout.EMBEDDINGS).mkdir(parents=True)
    for domain in {item.domain for item in samples}:
        names = [item.sample_id for item in samples if item.domain == domain]
        vectors = np.eye(40, dtype=np.float32)[: len(names)]
        path = root / layout.EMBEDDINGS / f"{domain}.npz"
        np.savez(path, sample_ids=np.array(names), embeddings_ND=vectors)
    names = [item.sample_id for item in samples if item.domain == "day" and item.split == "pool"]
    names = names if scored else []
    scores = {"sample_id": names, "entropy": [place / 100 for place, _ in enumerate(names)]}
    # The earlier a sample's id, the more of class 1 it shows, and the less sure that is.
    share = [1 - place / 100 for place, _ in enumerate(names)]
    scores |= {"class_0": [1 - each for each in share], "class_1": share}
    scores |= {"entropy_0": [0.2] * len(names), "entropy_1": [0.1 * each for each in share]}
    scores |= {"boundary": [10.0 + at for at, _ in enumerate(names)], "regions": [20] * len(names)}
    if any(item.mask for item in samples):
        save_mask(root / "m", np.array([[0] * 9 + [1], [255] * 10], dtype=np.uint8))
    pd.DataFrame(scores).to_parquet(root / layout.SCORES)


def query(root: Path) -> list[QueryRow]:
    return parse_query((root / layout.QUERY).read_text())


def ids(root: Path) -> list[str]:
    return [row.sample_id for row in query(root)]


def test_the_most_uncertain_candidates_are_asked_for(tmp_path: Path) -> None:
    samples = day()
    samples[11] = sample("day/11", mask="m", origin="ground_truth")
    samples[10] = sample("day/10", skips=1)
    samples[9] = sample("day/09", split="val", mask="m", origin="ground_truth")
    samples += [sample("dusk/00"), sample("dusk/01", mask="m", origin="ground_truth")]
    write_workspace(tmp_path, samples)
    run(tmp_path, params(audit_share=0.0))
    assert ids(tmp_path) == ["day/08", "day/07", "day/06", "day/05"]
    assert query(tmp_path)[0].reason == "uncertain (entropy 0.08, top 1 of 9)"


def test_the_budget_counts_answers_of_this_domain_in_any_split(tmp_path: Path) -> None:
    known = {"mask": "m", "origin": "annotated"}
    samples = [sample(f"day/a{place}", **known) for place in range(7)]
    samples += [sample("day/b", split="val", **known)]
    samples += [sample(f"dusk/a{place}", **known) for place in range(7)]
    samples += [sample("day/c", mask="m", origin="ground_truth"), *day()]
    samples += [sample("day/d", skips=1), sample("dusk/d", skips=1)]
    write_workspace(tmp_path, samples)
    run(tmp_path, params())
    assert len(ids(tmp_path)) == 10 - 9


@pytest.mark.parametrize("num", [10, 12])
def test_a_spent_budget_is_an_empty_query(tmp_path: Path, num: int) -> None:
    samples = [sample(f"day/a{at:02d}", mask="m", origin="annotated") for at in range(num)]
    write_workspace(tmp_path, samples + day())
    run(tmp_path, params())
    assert query(tmp_path) == []


def test_without_a_budget_a_query_is_as_large_as_its_size(tmp_path: Path) -> None:
    samples = [sample(f"day/a{at:02d}", mask="m", origin="annotated") for at in range(12)]
    write_workspace(tmp_path, samples + day())
    run(tmp_path, params().with_knobs(loop={"budget": None}))
    assert len(ids(tmp_path)) == 4


@pytest.mark.parametrize(("budget", "share"), [(10, 1.0), (24, 0.5), (None, 12 / 18), (0, 1.0)])
def test_a_strategy_is_told_how_far_the_budget_or_the_pool_is_spent(
    budget: int | None, share: float
) -> None:
    found = Spending(spent=12, budget=budget, knob="loop.budget", candidates=6)
    assert acquire._spent_share(found) == share


def test_a_pool_without_candidates_is_an_empty_query(tmp_path: Path) -> None:
    write_workspace(tmp_path, [sample("day/00", skips=2)])
    run(tmp_path, params())
    assert query(tmp_path) == []


def test_a_small_pool_is_asked_for_whole(tmp_path: Path) -> None:
    write_workspace(tmp_path, day(3))
    run(tmp_path, params())
    assert sorted(ids(tmp_path)) == ["day/00", "day/01", "day/02"]


def test_without_scores_the_start_is_cold(tmp_path: Path) -> None:
    write_workspace(tmp_path, day(), scored=False)
    run(tmp_path, params(strategy="entropy_k_center"))
    assert sorted(row.source for row in query(tmp_path)) == ["audit", *["cold_start"] * 3]


@pytest.mark.parametrize("strategy", ["random", "stratified_random", "entropy_k_center"])
def test_an_audit_pick_says_with_which_chance_it_was_drawn(tmp_path: Path, strategy: str) -> None:
    write_workspace(tmp_path, [*day(10), sample("day/no", skips=1)])
    run(tmp_path, params(strategy=strategy, audit_share=0.5))
    rows = query(tmp_path)
    assert [row.chance for row in rows if row.source == "audit"] == [0.2, 0.2]
    assert {row.chance for row in rows if row.source != "audit"} == {None}


def test_every_pick_carries_the_minutes_that_people_s_pace_predicts(tmp_path: Path) -> None:
    write_workspace(tmp_path, day(6))
    run(tmp_path, params(audit_share=0.0))
    # Nobody answered yet: the prior, for 10 and more sides of boundary and 20 regions.
    expected = {f"day/{at:02d}": round(8 - 7 + 0.1 * (10 + at) + 0.05 * 20, 2) for at in range(6)}
    assert [row.minutes for row in query(tmp_path)] == [expected[name] for name in ids(tmp_path)]
    quick = [
        Answer(
            item_id=f"day/x{at}/r0",
            source="strategy",
            chance=None,
            mask_sha256="m",
            counts=((0, 0, 48),),
            lead_s=30.0,
            boundary=12.0,
            regions=20,
        )
        for at in range(12)
    ]
    write_answers(tmp_path / layout.ANSWERS, quick)
    run(tmp_path, params(audit_share=0.0))
    assert all(0.3 < (row.minutes or 0) < 0.8 for row in query(tmp_path))


def test_without_a_teacher_every_image_takes_the_same(tmp_path: Path) -> None:
    write_workspace(tmp_path, day(), scored=False)
    run(tmp_path, params())
    assert {row.minutes for row in query(tmp_path)} == {8.0}


def test_what_is_labelled_in_an_older_domain_is_kept_away_from(tmp_path: Path) -> None:
    # dusk/04, labelled, looks exactly like day/04, which is the most uncertain.
    dusk = [sample(f"dusk/{place:02d}") for place in range(4)]
    samples = [*day(5), *dusk, sample("dusk/04", mask="m", origin="ground_truth")]
    write_workspace(tmp_path, samples)
    run(tmp_path, params(strategy="entropy_k_center", audit_share=0.0))
    assert ids(tmp_path) == ["day/03", "day/02", "day/01", "day/00"]


def test_the_same_files_give_the_same_query_and_a_merge_another_draw(tmp_path: Path) -> None:
    drawn: list[list[str]] = []
    for num in (0, 0, 1):
        root = tmp_path / str(len(drawn))
        known = [sample(f"day/a{at}", mask="m", origin="annotated") for at in range(num)]
        write_workspace(root, known + day(30))
        run(root, params(strategy="random"))
        drawn.append(sorted(ids(root)))
    assert drawn[0] == drawn[1] != drawn[2]


def test_samples_without_score_or_embedding_are_named(tmp_path: Path) -> None:
    write_workspace(tmp_path, day())
    write_manifest(tmp_path / layout.MANIFEST, [*day(), sample("day/new")])
    with pytest.raises(DataError, match=r"day.npz: lacks 1 sample\(s\).* day/new.*embed"):
        run(tmp_path, params())
    path = tmp_path / layout.EMBEDDINGS / "day.npz"
    np.savez(path, sample_ids=np.array(["day/new"]), embeddings_ND=np.ones((1, 3)))
    write_manifest(tmp_path / layout.MANIFEST, [sample("day/new")])
    with pytest.raises(DataError, match=r"scores.parquet: lacks 1 sample.* day/new.*predict"):
        run(tmp_path, params())


def test_scores_belong_to_their_regions_where_ids_sort_otherwise(tmp_path: Path) -> None:
    """Region #0,2 is left of #0,10, and comes after it by name."""
    chosen = params(query_unit="region", region_size_px=8, query_size=3, audit_share=0.0)
    image = "data/day/images/00.png"
    (tmp_path / image).parent.mkdir(parents=True)
    Image.new("RGB", (128, 96)).save(tmp_path / image)
    write_manifest(tmp_path / layout.MANIFEST, [sample("day/00", image=image)])
    names = chosen.grid.ids("day/00")
    (tmp_path / layout.EMBEDDINGS).mkdir(parents=True)
    path = tmp_path / layout.EMBEDDINGS / "day.npz"
    np.savez(path, region_ids=np.array(names), region_embeddings_ND=np.eye(len(names)))
    unsure = {"day/00#0,2": 0.9, "day/00#3,11": 0.8, "day/00#11,9": 0.7}
    table = pd.DataFrame({"sample_id": names, "entropy": [unsure.get(each, 0.1) for each in names]})
    others = ("class_0", "class_1", "entropy_0", "entropy_1", "boundary", "regions")
    table.assign(**dict.fromkeys(others, 0.5)).to_parquet(tmp_path / layout.SCORES)
    run(tmp_path, chosen)
    asked = [row.regions[0] for row in query(tmp_path)]
    assert asked == [chosen.grid.box(names.index(each), (96, 128)) for each in unsure]


def test_the_scores_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_workspace(tmp_path, day())
    read, calls = pd.read_parquet, []
    monkeypatch.setattr(pd, "read_parquet", lambda path: calls.append(path) or read(path))
    run(tmp_path, params())
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("gone", "stage"), [(layout.SCORES, "predict"), (layout.EMBEDDINGS / "day.npz", "embed")]
)
def test_a_missing_file_names_the_stage_that_writes_it(
    tmp_path: Path, gone: Path, stage: str
) -> None:
    write_workspace(tmp_path, day())
    (tmp_path / gone).unlink()
    with pytest.raises(DataError, match=f"no such file.*dvc repro {stage}"):
        run(tmp_path, params())


def test_no_domain_or_an_unknown_strategy_is_refused(tmp_path: Path) -> None:
    write_workspace(tmp_path, day())
    with pytest.raises(ConfigError, match="domain: null"):
        run(tmp_path, parse_params({"classes": ["a", "b"]}))
    with pytest.raises(ConfigError, match=r"acquire\.strategy = 'guess': unknown"):
        run(tmp_path, params(strategy="guess"))


def test_what_the_labels_lack_is_asked_for(tmp_path: Path) -> None:
    # Class 1 is a tenth of the labels: its doubt weighs nine times as much.
    write_workspace(tmp_path, [*day(), sample("day/known", mask="m", origin="annotated")])
    run(tmp_path, params(strategy="class_weighted_entropy", audit_share=0.0))
    rows = query(tmp_path)
    assert [row.sample_id for row in rows] == ["day/00", "day/01", "day/02", "day/03"]
    assert rows[0].score == pytest.approx(0.2 / 9 + 0.1, abs=1e-6)
    assert "10.0% of the labels" in rows[0].reason


def test_predictions_of_an_older_kind_are_refused(tmp_path: Path) -> None:
    write_workspace(tmp_path, day())
    table = pd.read_parquet(tmp_path / layout.SCORES)
    table.drop(columns=["entropy_0", "entropy_1"]).to_parquet(tmp_path / layout.SCORES)
    with pytest.raises(DataError, match=r"lacks the column\(s\) entropy_0, entropy_1; repeat"):
        run(tmp_path, params())


def test_by_default_images_are_spread_as_the_pool_is(tmp_path: Path) -> None:
    write_workspace(tmp_path, [*day(), sample("day/a", mask="m", origin="annotated")])
    run(tmp_path, params(strategy="default", audit_share=0.0))
    assert all("of the pool and" in row.reason for row in query(tmp_path))


def test_a_score_for_a_minute_prefers_what_is_quick(tmp_path: Path) -> None:
    write_workspace(tmp_path, day())
    table = pd.read_parquet(tmp_path / layout.SCORES)
    # Nearly as uncertain, and hardly any boundary to draw.
    table["boundary"] = np.where(table.sample_id == "day/08", 0.0, 50.0)
    table.to_parquet(tmp_path / layout.SCORES)
    asked = {}
    for unit in ("per_image", "per_minute"):
        run(tmp_path, params(strategy="entropy", audit_share=0.0, strategy_unit_of_gain=unit))
        asked[unit] = ids(tmp_path)
    assert asked["per_image"] == ["day/11", "day/10", "day/09", "day/08"]
    assert asked["per_minute"][0] == "day/08"
