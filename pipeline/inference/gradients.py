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
from pipeline.inference.tiles import View
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


def mean_gradients(gradients_Ghw: Tensor, grid: Grid) -> Tensor:
    """gradients_RG of an image's regions: means over their cells, or those that they lie in."""
    means_Grc = F.adaptive_avg_pool2d(gradients_Ghw, (grid.rows, grid.columns))
    return means_Grc.flatten(1).T


def projection(num_weights: int) -> Tensor:
    """project_XG, the same for all rounds and strategies."""
    rng = np.random.default_rng(0)
    found = rng.normal(scale=1 / math.sqrt(GRADIENT_SIZE), size=(num_weights, GRADIENT_SIZE))
    return torch.from_numpy(found.astype(np.float32))
