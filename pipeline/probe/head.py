"""The small network that a fast backtest retrains each round on frozen features.

N images, P cells of an image, M labelled cells, D features of a cell, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.metrics.iou import confusion_matrix, iou_per_class, mean_iou

# On CamVid's val with all 295 masks, one thread: mIoU .47 after 300 steps with 64 hidden units,
# .49 after 600, .51 with 128 (2 s), .50 after 1,200 with 64; .42 without hidden units.
HIDDEN, STEPS, BATCH, RATE, WEIGHT_DECAY = 128, 600, 2048, 1e-2, 1e-4
SETTING = (HIDDEN, BATCH, RATE, WEIGHT_DECAY)
IMAGES_AT_ONCE = 32


class Head(nn.Module):
    """A hidden layer, the classes, and the same network at earlier steps."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU())
        self.classes = nn.Linear(HIDDEN, num_classes)
        self.earlier: list[Head] = []  # a plain list: not trained on

    def forward(self, cells_MD: Tensor) -> Tensor:
        """Logits MK."""
        logits_MK: Tensor = self.classes(self.hidden(cells_MD))
        return logits_MK


def fit(
    cells_MD: NDArray[np.float16],
    classes_M: NDArray[np.uint8],
    num_classes: int,
    seed: int,
    steps: int = STEPS,
) -> Head:
    """A head trained on labelled cells by cross-entropy; the same seed gives the same bits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Head(cells_MD.shape[-1], num_classes)
        cells, classes = torch.from_numpy(cells_MD), torch.from_numpy(classes_M).long()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        earlier = []
        for step in range(steps if len(classes) else 0):
            if step in (steps // 3, 2 * steps // 3):
                earlier.append(copy.deepcopy(network).eval())
            rows = torch.randint(len(classes), (BATCH,))
            loss = F.cross_entropy(network(cells[rows].float()), classes[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.earlier = earlier
    return network.eval()


def miou(
    head: nn.Module,
    cells_NPD: NDArray[np.float16],
    masks_NP: NDArray[np.uint8],
    num_classes: int,
) -> float:
    """Mean IoU over the cells of all images together; 0 where no class occurs."""
    total_KK = torch.zeros(num_classes, num_classes, dtype=torch.long)
    for first, probs_NPK in probs_of(head, cells_NPD):
        truth_NP = torch.from_numpy(masks_NP[first : first + len(probs_NPK)].astype(np.int64))
        total_KK += confusion_matrix(probs_NPK.max(dim=-1).indices, truth_NP, num_classes)
    return mean_iou(iou_per_class(total_KK)) or 0.0


def probs_of(head: nn.Module, cells_NPD: NDArray[np.float16]) -> Iterator[tuple[int, Tensor]]:
    """(row of the first image, probs_NPK), some images at a time."""
    for first in range(0, len(cells_NPD), IMAGES_AT_ONCE):
        cells = torch.from_numpy(cells_NPD[first : first + IMAGES_AT_ONCE].astype(np.float32))
        with torch.inference_mode():
            probs_NPK = head(cells).softmax(dim=-1)
        yield first, probs_NPK
