"""The small network that a fast backtest retrains each round on frozen features.

N images, P cells of an image, M cells, D features of a cell, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.metrics import confusion_matrix, iou_per_class, mean_iou
from pipeline.types import IGNORE

# On CamVid's val with all 295 masks, one thread: mIoU .47 after 300 steps with 64 hidden units,
# .49 after 600, .51 with 128 (2 s), .50 after 1,200 with 64; .42 without hidden units.
HIDDEN, STEPS, BATCH, RATE, WEIGHT_DECAY = 128, 600, 2048, 1e-2, 1e-4
SETTING = (HIDDEN, BATCH, RATE, WEIGHT_DECAY)
IMAGES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """What a head says about images that have no mask; entropies over log K, in [0, 1]."""

    entropy_N: NDArray[np.float64]
    """Mean over the most uncertain share of each image's cells."""
    class_entropy_NK: NDArray[np.float64]
    """Mean over an image of entropy times the class's probability."""
    class_shares_NK: NDArray[np.float64]
    """Mean probability of each class."""


def fit(
    cells_NPD: NDArray[np.float16],
    masks_NP: NDArray[np.uint8],
    num_classes: int,
    seed: int,
    steps: int = STEPS,
) -> nn.Module:
    """A head trained on the labelled cells by cross-entropy; the same seed gives the same bits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        width = cells_NPD.shape[-1]
        network = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_classes))
        known = np.flatnonzero(masks_NP.reshape(-1) != IGNORE)
        cells_MD = torch.from_numpy(cells_NPD.reshape(-1, width)[known])
        classes_M = torch.from_numpy(masks_NP.reshape(-1)[known]).long()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps if len(known) else 0):
            rows = torch.randint(len(classes_M), (BATCH,))
            loss = F.cross_entropy(network(cells_MD[rows].float()), classes_M[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def score(head: nn.Module, cells_NPD: NDArray[np.float16], top_share: float) -> Uncertainty:
    """What `head` is unsure about, image by image."""
    tops, by_class, shares = [], [], []
    for _, probs_NPK in _probs(head, cells_NPD):
        entropy_NP = torch.special.entr(probs_NPK).sum(-1) / math.log(probs_NPK.shape[-1])
        count = max(1, round(top_share * entropy_NP.shape[1]))
        tops.append(entropy_NP.topk(count, dim=1, sorted=False).values.mean(1))
        by_class.append(torch.einsum("np,npk->nk", entropy_NP, probs_NPK) / entropy_NP.shape[1])
        shares.append(probs_NPK.mean(1))
    return Uncertainty(
        entropy_N=_array(tops), class_entropy_NK=_array(by_class), class_shares_NK=_array(shares)
    )


def miou(
    head: nn.Module,
    cells_NPD: NDArray[np.float16],
    masks_NP: NDArray[np.uint8],
    num_classes: int,
) -> float:
    """Mean IoU over the cells of all images together; 0 where no class occurs."""
    total_KK = torch.zeros(num_classes, num_classes, dtype=torch.long)
    for first, probs_NPK in _probs(head, cells_NPD):
        truth_NP = torch.from_numpy(masks_NP[first : first + len(probs_NPK)].astype(np.int64))
        total_KK += confusion_matrix(probs_NPK.max(dim=-1).indices, truth_NP, num_classes)
    return mean_iou(iou_per_class(total_KK)) or 0.0


@torch.inference_mode()
def _probs(head: nn.Module, cells_NPD: NDArray[np.float16]) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(cells_NPD), IMAGES_AT_ONCE):
        cells = torch.from_numpy(cells_NPD[first : first + IMAGES_AT_ONCE].astype(np.float32))
        yield first, head(cells).softmax(dim=-1)


def _array(parts: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(parts).double().clamp(0, 1).numpy()
