"""predict, embed and acquire where people are asked for regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pipeline import layout
from pipeline.config.params import Params, parse_params
from pipeline.data.formats.images import save_mask
from pipeline.errors import ConfigError, DataError
from pipeline.files import sha256_file
from pipeline.records.manifest import read_manifest, write_manifest
from pipeline.records.query import by_image, parse_query
from pipeline.records.regions import Box, Grid, boxes_text
from pipeline.stages import acquire, embed, predict, train_teacher
from pipeline.stages.candidates import labelled_ids, regions_of

SIZE = (60, 70)  # of the images; networks see 64 x 64
GRID = Grid(4, 4)
ALL = [box for region in range(16) for box in [GRID.box(region, SIZE)]]


@pytest.fixture
def params(tiny_params: Callable[..., Params]) -> Params:
    regions = {"query_unit": "region", "region_size_px": 16, "query_size": 5}
    found = tiny_params(acquire=regions | {"strategy": "entropy"}, loop={"budget": 40})
    assert found.grid == GRID
    return found


def with_regions(root: Path, name: str, boxes: list[Box]) -> None:
    """People answered these regions: class 1 there, nothing known elsewhere."""
    mask_HW = np.full(SIZE, 255, dtype=np.uint8)
    for box in boxes:
        mask_HW[box.slices] = 1
    path = layout.sample_png(layout.masks_dir("day"), name.split("/")[1])
    save_mask(root / path, mask_HW)
    samples = read_manifest(root / layout.MANIFEST)
    known = {"mask": str(path), "mask_sha256": sha256_file(root / path), "origin": "annotated"}
    write_manifest(
        root / layout.MANIFEST,
        [
            replace(one, regions=boxes_text(boxes), **known) if one.sample_id == name else one
            for one in samples
        ],
    )


def test_every_region_has_scores_as_if_it_were_an_image(
    make_workspace: Callable[..., Path], params: Params, tiny_params: Callable[..., Params]
) -> None:
    root = make_workspace(2, 1)
    train_teacher.run(root, params)
    predict.run(root, params)
    table = pd.read_parquet(root / layout.SCORES).set_index("sample_id")
    assert table.index.tolist() == [
        f"day/{image:02}#{row},{column}"
        for image in range(3)
        for row in range(4)
        for column in range(4)
    ]
    for region, name in enumerate(GRID.ids("day/02")):
        box = GRID.box(region, SIZE)
        label, confidence, uncertainty = (
            np.array(Image.open(root / layout.sample_png(folder, "day/02")))[box.slices]
            for folder in predict.FOLDERS
        )
        row = table.loc[name]
        assert (label == 1).mean() == pytest.approx(row.class_1)
        assert confidence.mean() / 255 == pytest.approx(row.mean_confidence, abs=2e-3)
        assert uncertainty.mean() / 255 == pytest.approx(row.mean_entropy, abs=2e-3)
        assert row.entropy == row.mean_entropy
        by_class = row[["entropy_0", "entropy_1", "entropy_2"]].sum()
        assert by_class == pytest.approx(row.mean_entropy, rel=1e-4)
    # The maps are those of queries of whole images.
    maps = [path.read_bytes() for path in sorted((root / layout.UNCERTAINTY).rglob("*.png"))]
    predict.run(root, tiny_params())
    assert maps == [p.read_bytes() for p in sorted((root / layout.UNCERTAINTY).rglob("*.png"))]
    assert len(pd.read_parquet(root / layout.SCORES)) == 3


def test_the_query_asks_for_the_most_uncertain_regions_that_nobody_was_asked_for(
    make_workspace: Callable[..., Path], params: Params
) -> None:
    root = make_workspace(2, 3)
    with_regions(root, "day/02", ALL[:12])
    train_teacher.run(root, params)
    predict.run(root, params)
    embed.run(root, params)
    table = pd.read_parquet(root / layout.SCORES).set_index("sample_id")
    known = {name for at in (0, 1) for name in GRID.ids(f"day/{at:02}")}
    candidates = table.drop(index=[*known, *GRID.ids("day/02")[:12]])
    assert len(candidates) == 4 + 16 + 16
    without_audit = params.with_knobs(acquire={"audit_share": 0.0})
    acquire.run(root, without_audit)
    rows = parse_query((root / layout.QUERY).read_text())
    best = candidates.entropy.sort_values(ascending=False, kind="stable").index[:5]
    found = {f"{row.sample_id}:{boxes_text(row.regions)}" for row in rows}
    boxes = {name: GRID.box(GRID.ids(name[:6]).index(name), SIZE) for name in best}
    assert found == {f"{name[:6]}:{box}" for name, box in boxes.items()}
    assert sum(len(image.boxes) for image in by_image(rows)) == 5
    # Of a budget of 40 regions 12 are spent: 30 would be too many.
    many = params.with_knobs(acquire={"query_size": 30})
    acquire.run(root, many)
    assert len(parse_query((root / layout.QUERY).read_text())) == 40 - 12


def test_answered_regions_are_no_candidates_in_any_grid_but_known_to_strategies(
    make_workspace: Callable[..., Path], params: Params
) -> None:
    root = make_workspace(1, 2)
    with_regions(root, "day/01", [ALL[0], ALL[5]])
    samples = read_manifest(root / layout.MANIFEST)
    found = regions_of(root, params, samples)
    assert len(found) == 14 + 16
    assert "day/01#0,0" not in found
    assert found["day/01#0,1"] == ("day/01", ALL[1])
    ids = labelled_ids(root, params, samples)
    assert ids == [[*GRID.ids("day/00"), "day/01#0,0", "day/01#1,1"]]
    coarse = params.with_knobs(acquire={"region_size_px": 32})
    # Both lie in the upper left quarter.
    left = regions_of(root, coarse, samples)
    assert [name for name in left if name.startswith("day/01")] == [
        "day/01#0,1",
        "day/01#1,0",
        "day/01#1,1",
    ]
    refused = [replace(one, skips=int(one.sample_id == "day/01")) for one in samples]
    assert {name[:6] for name in regions_of(root, params, refused)} == {"day/02"}


def test_the_embedding_of_a_region_is_of_what_it_shows() -> None:
    maps = [torch.rand(2, 3, 8, 8), torch.rand(2, 5, 2, 2)]
    rows_ND = embed.pooled_regions(maps, GRID)
    assert rows_ND.shape == (2 * 16, 8)
    torch.testing.assert_close(rows_ND.norm(dim=1), torch.ones(32))
    fine = maps[0][1, :, 2:4, 4:6].mean(dim=(1, 2))  # image 1, row 1, column 2
    coarse = maps[1][1, :, 0, 1]
    joined = torch.cat([fine / fine.norm(), coarse / coarse.norm()])
    torch.testing.assert_close(rows_ND[16 + 6], joined / joined.norm())


def test_wide_embeddings_of_regions_are_narrowed_alike() -> None:
    maps = [torch.rand(1, 300, 4, 4), torch.rand(1, 200, 4, 4)]
    maps[0][..., 3] = maps[0][..., 2]
    maps[1][..., 3] = maps[1][..., 2]
    rows_ND = embed.pooled_regions(maps, GRID)
    assert rows_ND.shape == (16, embed.REGION_FEATURES)
    torch.testing.assert_close(rows_ND[2], rows_ND[3])
    torch.testing.assert_close(rows_ND, embed.pooled_regions(maps, GRID))
    joined = torch.cat([F.normalize(each, dim=1) for each in maps], dim=1)[0].reshape(500, 16).T
    cosines = F.normalize(joined, dim=1) @ F.normalize(joined, dim=1).T
    assert (rows_ND @ rows_ND.T - cosines).abs().max() < 0.35


def test_stages_of_queries_of_images_are_refused(
    make_workspace: Callable[..., Path], params: Params, tiny_params: Callable[..., Params]
) -> None:
    root = make_workspace(0, 3)
    embed.run(root, tiny_params())
    with pytest.raises(DataError, match=r"day.npz: lacks regions; repeat.*--force embed"):
        acquire.run(root, params)


def test_an_unknown_unit_names_those_that_exist() -> None:
    with pytest.raises(
        ConfigError, match=r"acquire.query_unit = 'point'.*'image', 'region' or 'correction'"
    ):
        parse_params({"classes": ["a", "b"], "acquire": {"query_unit": "point"}})


def test_an_image_of_which_regions_are_known_is_not_asked_for_as_a_whole(
    make_workspace: Callable[..., Path], tiny_params: Callable[..., Params]
) -> None:
    root = make_workspace(0, 3)
    with_regions(root, "day/01", ALL[:2])
    whole = tiny_params(acquire={"strategy": "random", "query_size": 5}, loop={"budget": 40})
    embed.run(root, whole)
    pd.DataFrame({"sample_id": []}).to_parquet(root / layout.SCORES)
    acquire.run(root, whole)
    rows = parse_query((root / layout.QUERY).read_text())
    assert sorted(row.sample_id for row in rows) == ["day/00", "day/02"]
