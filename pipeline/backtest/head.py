"""The small network that a fast backtest retrains each round on frozen features.

N images, W windows and P cells of an image, M labelled cells, D features of a cell, K classes.
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

from pipeline.backtest.windows import Windows
from pipeline.metrics import confusion_matrix, iou_per_class, mean_iou

# On CamVid's val with all 295 masks, one thread: mIoU .47 after 300 steps with 64 hidden units,
# .49 after 600, .51 with 128 (2 s), .50 after 1,200 with 64; .42 without hidden units.
HIDDEN, STEPS, BATCH, RATE, WEIGHT_DECAY = 128, 600, 2048, 1e-2, 1e-4
SETTING = (HIDDEN, BATCH, RATE, WEIGHT_DECAY)
IMAGES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """What a head says about images that have no mask; entropies over log K, in [0, 1]."""

    entropy_NW: NDArray[np.float64]
    """Of whole images the mean over the most uncertain share of the cells, of smaller windows the
    mean."""
    class_entropy_NWK: NDArray[np.float64]
    """Mean of entropy times the class's probability."""
    class_shares_NWK: NDArray[np.float64]
    """Mean probability of each class."""


def fit(
    cells_MD: NDArray[np.float16],
    classes_M: NDArray[np.uint8],
    num_classes: int,
    seed: int,
    steps: int = STEPS,
) -> nn.Module:
    """A head trained on labelled cells by cross-entropy; the same seed gives the same bits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        width = cells_MD.shape[-1]
        network = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, num_classes))
        cells, classes = torch.from_numpy(cells_MD), torch.from_numpy(classes_M).long()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps if len(classes) else 0):
            rows = torch.randint(len(classes), (BATCH,))
            loss = F.cross_entropy(network(cells[rows].float()), classes[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def score(
    head: nn.Module, cells_NPD: NDArray[np.float16], windows: Windows, top_share: float
) -> Uncertainty:
    """What `head` is unsure about, window by window."""
    entropies, by_class, shares = [], [], []
    for _, probs_NPK in _probs(head, cells_NPD):
        entropy_NP = torch.special.entr(probs_NPK).sum(-1) / math.log(probs_NPK.shape[-1])
        entropy_NP = entropy_NP.clamp(0, 1)
        if windows.count == 1:
            count = max(1, round(top_share * entropy_NP.shape[1]))
            top_N = entropy_NP.topk(count, dim=1, sorted=False).values.mean(1)
            entropies.append(top_N[:, None].double().numpy())
        else:
            entropies.append(windows.means(entropy_NP.double().numpy()))
        by_class.append(windows.means((entropy_NP[..., None] * probs_NPK).double().numpy()))
        shares.append(windows.means(probs_NPK.double().numpy()))
    entropy_NW, class_entropy_NWK, class_shares_NWK = (
        np.concatenate(parts).clip(0, 1) for parts in (entropies, by_class, shares)
    )
    return Uncertainty(
        entropy_NW=entropy_NW,
        class_entropy_NWK=class_entropy_NWK,
        class_shares_NWK=class_shares_NWK,
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
