"""Gradients of the last layer: those of autograd, and `badge` through the stages."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import layout
from pipeline.acquisition.gradient_columns import gradient_columns
from pipeline.errors import ConfigError
from pipeline.inference.gradients import (
    GRADIENT_SIZE,
    WHOLE,
    MeanGradients,
    gradient_view,
    projection,
)
from pipeline.inference.tiles import Band
from pipeline.models.segmenter import Segmenter
from pipeline.records.query import parse_query
from pipeline.records.regions import Grid
from pipeline.stages import acquire, embed, predict, train_teacher


class Twice(nn.Module):
    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        return [images_BCHW, images_BCHW]


class Last(nn.Module):
    def forward(self, features: list[Tensor]) -> Tensor:
        return features[-1]


def one_convolution() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(encoder=Twice(), decoder=Last(), head=nn.Conv2d(3, 4, 1))


def mean_gradients(gradients_Ghw: Tensor, grid: Grid, *, rows: int = 5) -> Tensor:
    means, height = MeanGradients(grid), gradients_Ghw.shape[1]
    for first in range(0, height, rows):
        means.add(Band(gradients_Ghw[:, first : first + rows], first, height))
    return means.rows_RG


@pytest.mark.parametrize("cells", [(7, 5), (12, 12), (3, 4), (1, 1)])
@pytest.mark.parametrize("grid", [WHOLE, Grid(4, 3), Grid(5, 5)])
def test_bands_of_cells_have_the_means_of_all_at_once(cells: tuple[int, int], grid: Grid) -> None:
    gradients_Ghw = torch.randn(6, *cells, generator=torch.Generator().manual_seed(0))
    expected = F.adaptive_avg_pool2d(gradients_Ghw, (grid.rows, grid.columns)).flatten(1).T
    for rows in (1, 2, 100):
        torch.testing.assert_close(mean_gradients(gradients_Ghw, grid, rows=rows), expected)


def test_they_are_those_of_autograd_for_an_image_and_for_regions() -> None:
    network, images_BCHW = one_convolution(), torch.randn(2, 3, 32, 64)
    with torch.inference_mode():
        found_BGhw = gradient_view(network)(images_BCHW)
    logits_BKHW = network(images_BCHW)
    likeliest_BHW = logits_BKHW.argmax(dim=1).detach()
    for grid in (WHOLE, Grid(2, 4)):
        for place in range(2):
            means_RG = mean_gradients(found_BGhw[place], grid)
            for region in range(grid.count):
                inside = (slice(place, place + 1), ..., *grid.box(region, (32, 64)).slices)
                loss = F.cross_entropy(logits_BKHW[inside], likeliest_BHW[inside])
                (grad,) = torch.autograd.grad(loss, network.head.weight, retain_graph=True)
                expected_G = grad.flatten() @ projection(grad.numel())
                torch.testing.assert_close(means_RG[region], expected_G, rtol=1e-4, atol=1e-6)


def test_a_gradient_of_a_sure_network_is_small() -> None:
    network, images_BCHW = one_convolution(), torch.randn(1, 3, 32, 32)
    unsure = mean_gradients(gradient_view(network)(images_BCHW)[0], WHOLE).norm()
    network.head.weight.data *= 100
    sure = mean_gradients(gradient_view(network)(images_BCHW)[0], WHOLE).norm()
    assert sure < unsure / 10


@pytest.mark.parametrize("unit", ["image", "region"])
def test_badge_asks_in_the_loop(make_workspace, tiny_params, unit: str) -> None:
    root: Path = make_workspace(2, 4)
    chosen = {"strategy": "badge", "query_unit": unit, "region_size_px": 32, "query_size": 3}
    params = tiny_params(acquire=chosen | {"audit_share": 0.0})
    train_teacher.run(root, params)
    embed.run(root, params, domain="day")
    predict.run(root, params)
    table = pd.read_parquet(root / layout.SCORES)
    assert [name for name in table.columns if name.startswith("gradient_")] == gradient_columns()
    gradients = table[gradient_columns()].to_numpy()
    assert gradients.shape == (6 * (1 if unit == "image" else 4), GRADIENT_SIZE)
    assert len({row.tobytes() for row in gradients}) == len(gradients)
    acquire.run(root, params)
    rows = parse_query((root / layout.QUERY).read_text())
    assert len(rows) == 3
    assert all("would change the model in its own way" in row.reason for row in rows)


def test_without_being_asked_for_they_are_not_made_and_badge_says_how(
    make_workspace, tiny_params
) -> None:
    root: Path = make_workspace(2, 3)
    train_teacher.run(root, tiny_params())
    embed.run(root, tiny_params(), domain="day")
    predict.run(root, tiny_params())
    assert not set(gradient_columns()) & set(pd.read_parquet(root / layout.SCORES).columns)
    with pytest.raises(ConfigError, match=r"needs gradients.*dvc repro --force predict"):
        acquire.run(root, tiny_params(acquire={"strategy": "badge"}))
