"""What a label would do to the teacher's last layer: the gradients that `badge` chooses by.

B images, C channels, K classes, H height, W width, D channels of the representation and h, w its
size, X = K D weights, R regions, G numbers of a projected gradient.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.acquisition import resolved, strategy
from pipeline.acquisition.gradient_columns import GRADIENT_SIZE
from pipeline.config.params import Params
from pipeline.inference.tiles import Band, View
from pipeline.models.segmenter import Segmenter
from pipeline.records.regions import Grid

WHOLE = Grid(1, 1)


def wanted(params: Params) -> bool:
    """Whether the strategy needs gradients: they take a pass of their own over every image."""
    name = resolved(params.acquire.strategy, params.acquire.query_unit)
    return "gradients" in strategy(name).needs


def gradient_view(network: Segmenter) -> View:
    """Normalised images_BCHW to gradients_BGhw, one for every cell of the representation.

    Of the cross-entropy by the weights of the last layer, were the likeliest class right:
    (probabilities - likeliest class) times the representation (Ash et al. 2020, eq. 1), projected.
    Of a kernel that is wider than a pixel these are the weights in its middle.
    """

    def view(images_BCHW: Tensor) -> Tensor:
        represented_BDhw = network.represent(network.encode(images_BCHW))
        probs_BKHW = network.classify(represented_BDhw, like=images_BCHW).softmax(dim=1)
        likeliest_BKHW = torch.zeros_like(probs_BKHW)
        likeliest_BKHW.scatter_(1, probs_BKHW.argmax(dim=1, keepdim=True), 1.0)
        cells = (represented_BDhw.shape[-2], represented_BDhw.shape[-1])
        residual_BKhw = F.adaptive_avg_pool2d(probs_BKHW - likeliest_BKHW, cells)
        size = (probs_BKHW.shape[1], represented_BDhw.shape[1])
        project_KDG = projection(size[0] * size[1]).to(represented_BDhw).view(*size, -1)
        # Class by class: all at once would take K D values per cell.
        by_class = (
            residual_BKhw[:, index, None]
            * torch.einsum("bdhw,dg->bghw", represented_BDhw, project_KDG[index])
            for index in range(size[0])
        )
        return functools.reduce(torch.add, by_class)

    return view


class MeanGradients:
    """Of an image's regions: means over their cells, or those that they lie in, band by band.

    The numbers of torch's adaptive_avg_pool2d over all cells at once.
    """

    def __init__(self, grid: Grid) -> None:
        """Of no band yet."""
        self._grid = grid
        self._sums_GRC = torch.empty(0)
        self._cells = 0

    def add(self, band: Band) -> None:
        """The next cells from the top."""
        if not band.values_KRW.shape[1]:
            return
        rows, columns = self._grid.rows, self._grid.columns
        pooled_GrC = F.adaptive_avg_pool2d(band.values_KRW, (band.values_KRW.shape[1], columns))
        if not self._sums_GRC.numel():
            self._sums_GRC = pooled_GrC.new_zeros(len(pooled_GrC), rows, columns)
        self._cells = band.height
        for row in range(rows):
            first, end = self._of(row)
            inside_GrC = pooled_GrC[:, max(0, first - band.first) : max(0, end - band.first)]
            self._sums_GRC[:, row] += inside_GrC.sum(dim=1)

    @property
    def rows_RG(self) -> Tensor:
        """gradients_RG, one row for each region."""
        ends = [self._of(row) for row in range(self._grid.rows)]
        counts_R = torch.tensor([end - first for first, end in ends]).to(self._sums_GRC)
        return (self._sums_GRC / counts_R[:, None]).flatten(1).T

    def _of(self, row: int) -> tuple[int, int]:
        """The first cell of a row of regions, and the one after its last."""
        rows = self._grid.rows
        return row * self._cells // rows, -(-(row + 1) * self._cells // rows)


def projection(num_weights: int) -> Tensor:
    """project_XG, the same for all rounds and strategies."""
    rng = np.random.default_rng(0)
    found = rng.normal(scale=1 / math.sqrt(GRADIENT_SIZE), size=(num_weights, GRADIENT_SIZE))
    return torch.from_numpy(found.astype(np.float32))
