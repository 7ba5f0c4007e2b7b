"""What the head of a fast backtest says about windows that have no mask.

N images, W windows and P cells of an image, D features of a cell, K classes, J hidden units,
G gradient.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.acquisition.gradient_columns import GRADIENT_SIZE
from pipeline.inference.gradients import projection
from pipeline.metrics.information import entropy_nats, js_divergence_nats
from pipeline.models.probe import Head
from pipeline.probe.head import HeadWithPast, probs_of
from pipeline.probe.windows import Windows

MEMBERS = ("bald", "disagreement", "instability")  # need the head at earlier steps too
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """All in [0, 1] but the gradients; entropies over log K."""

    scores: dict[str, Floats]
    """NW values by name. Of whole images entropy and margin are means over the most uncertain share
    of the cells, of smaller windows over all."""
    class_entropy_NWK: Floats
    """Mean of entropy times the class's probability."""
    class_shares_NWK: Floats
    """Mean probability of each class."""
    gradients_NWG: Floats | None
    """Mean gradient of the cross-entropy at the last layer, were the likeliest class right."""


def score(
    head: HeadWithPast,
    cells_NPD: NDArray[np.float16],
    windows: Windows,
    top_share: float,
    wanted: Collection[str] = (),
) -> Scores:
    """What `head` is unsure about, window by window; `wanted`: scores beyond entropy and margin.

    With few weights and no dropout the members are the head at a third and at two thirds of its
    training, and at the end. bald: of these three. disagreement: Jensen-Shannon divergence between
    the end and the mean of the earlier two. instability: cells whose class is not always the same.
    """
    parts = []
    members = [probs_of(each, cells_NPD) for each in head.earlier if set(wanted) & set(MEMBERS)]
    size = head.classes.weight.numel()
    project_XG = projection(size) if "gradients" in wanted else None
    for (first, probs_NPK), *others in zip(probs_of(head, cells_NPD), *members, strict=True):
        found = _by_cell(probs_NPK, [probs for _, probs in others])
        means = {name: _aggregate(values, windows, top_share) for name, values in found.items()}
        entropy_NP = _entropy(probs_NPK)
        means["class_entropy"] = _means(entropy_NP[..., None] * probs_NPK, windows)
        means["class_shares"] = _means(probs_NPK, windows)
        if project_XG is not None:
            cells = torch.from_numpy(cells_NPD[first : first + len(probs_NPK)].astype(np.float32))
            means["gradients"] = _means(_gradients(head, cells, probs_NPK, project_XG), windows)
        parts.append(means)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Scores(
        class_entropy_NWK=joined.pop("class_entropy").clip(0, 1),
        class_shares_NWK=joined.pop("class_shares").clip(0, 1),
        gradients_NWG=joined.pop("gradients", None),
        scores={name: values.clip(0, 1) for name, values in joined.items()},
    )


def _by_cell(probs_NPK: Tensor, others: list[Tensor]) -> dict[str, Tensor]:
    top_NP2 = probs_NPK.topk(2, dim=-1).values
    found = {"entropy": _entropy(probs_NPK), "margin": 1 - (top_NP2[..., 0] - top_NP2[..., 1])}
    if others:
        all_MNPK = torch.stack([probs_NPK, *others])
        likeliest_MNP = all_MNPK.max(dim=-1).indices
        before_NPK = torch.stack(others).mean(0)
        found["bald"] = js_divergence_nats(all_MNPK, dim=-1) / math.log(probs_NPK.shape[-1])
        two_2NPK = torch.stack([probs_NPK, before_NPK])
        found["disagreement"] = js_divergence_nats(two_2NPK, dim=-1) / math.log(2)
        found["instability"] = (likeliest_MNP != likeliest_MNP[0]).any(0).float()
    return found


def _entropy(probs: Tensor) -> Tensor:
    """Over log K, in [0, 1]."""
    return (entropy_nats(probs, dim=-1) / math.log(probs.shape[-1])).clamp(0, 1)


def _aggregate(values_NP: Tensor, windows: Windows, top_share: float) -> Floats:
    if windows.count > 1:
        return _means(values_NP, windows)
    count = max(1, round(top_share * values_NP.shape[1]))
    top_N = values_NP.topk(count, dim=1, sorted=False).values.mean(1)
    return top_N[:, None].double().numpy()


def _means(values: Tensor, windows: Windows) -> Floats:
    return windows.means(values.double().numpy())


@torch.inference_mode()
def _gradients(head: Head, cells_NPD: Tensor, probs_NPK: Tensor, project_XG: Tensor) -> Tensor:
    """NPG: (probabilities - likeliest class) times hidden units, projected (BADGE, eq. 1)."""
    hidden_NPJ = head.hidden(cells_NPD)
    residual_NPK = probs_NPK.clone()
    best_NP1 = probs_NPK.max(dim=-1, keepdim=True).indices
    residual_NPK.scatter_add_(-1, best_NP1, -torch.ones_like(best_NP1, dtype=probs_NPK.dtype))
    project_KJG = project_XG.view(probs_NPK.shape[-1], hidden_NPJ.shape[-1], GRADIENT_SIZE)
    found: Tensor = sum(  # class by class: all at once would take K times J values per cell
        residual_NPK[..., index, None] * (hidden_NPJ @ project_KJG[index])
        for index in range(len(project_KJG))
    )
    return found
