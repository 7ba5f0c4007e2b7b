"""The probe's head in a fast backtest, which trains one in each round of each replay.

N images, P cells of an image, M labelled cells, D features of a cell, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.metrics.iou import confusion_matrix, iou_per_class, mean_iou
from pipeline.models.probe import HIDDEN, Head
from pipeline.training.probes.probe_choice import LEARNING_RATE
from pipeline.training.probes.probe_choice import STEPS as STEPS
from pipeline.training.probes.probe_training import BATCH_CELLS, HeadTraining, train_head

# On CamVid's val with all 295 masks, one thread: mIoU .47 after 300 steps with 64 hidden units,
# .49 after 600, .51 with 128 (2 s), .50 after 1,200 with 64; .42 without hidden units.
WEIGHT_DECAY = 1e-4
SETTING = (HIDDEN, BATCH_CELLS, LEARNING_RATE, WEIGHT_DECAY)
IMAGES_AT_ONCE = 32


class HeadWithPast(Head):
    """A head, and the same network at earlier steps."""

    def __init__(self, hidden: nn.Sequential, classes: nn.Linear) -> None:
        super().__init__(hidden, classes)
        self.earlier: list[Head] = []  # a plain list: not trained on


def training(steps: int = STEPS, weights_M: NDArray[np.float64] | None = None) -> HeadTraining:
    """How a head is trained; `weights_M`: how likely each cell is drawn, None: all alike."""
    return HeadTraining(
        steps=steps,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        weights_M=None if weights_M is None else torch.from_numpy(weights_M),
    )


def fit(
    cells_MD: NDArray[np.float16],
    classes_M: NDArray[np.uint8],
    num_classes: int,
    seed: int,
    how: HeadTraining | None = None,
) -> HeadWithPast:
    """A head trained on labelled cells by cross-entropy; the same seed gives the same bits.

    As `training` says where nothing else is said.
    """
    how = how or training()
    thirds = (how.steps // 3, 2 * how.steps // 3)
    earlier: list[Head] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HeadWithPast.of_size(cells_MD.shape[-1], num_classes)

        def told(done: int, loss: Tensor) -> None:
            if done in thirds:
                earlier.append(copy.deepcopy(head).eval())

        train_head(head, torch.from_numpy(cells_MD), torch.from_numpy(classes_M), how, told)
    head.earlier = earlier
    return head.eval()


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


def classes_of(head: nn.Module, cells_NPD: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The likeliest class of every cell, NP."""
    found = [probs_NPK.argmax(dim=-1).byte().numpy() for _, probs_NPK in probs_of(head, cells_NPD)]
    return np.concatenate([np.empty((0, cells_NPD.shape[1]), dtype=np.uint8), *found])


def probs_of(head: nn.Module, cells_NPD: NDArray[np.float16]) -> Iterator[tuple[int, Tensor]]:
    """(row of the first image, probs_NPK), some images at a time."""
    for first in range(0, len(cells_NPD), IMAGES_AT_ONCE):
        cells = torch.from_numpy(cells_NPD[first : first + IMAGES_AT_ONCE].astype(np.float32))
        with torch.inference_mode():
            probs_NPK = head(cells).softmax(dim=-1)
        yield first, probs_NPK
