"""How often each class is labelled, and what is made of it. N samples, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.config.params import Params
from pipeline.data.dataset import ImageStore
from pipeline.data.formats.images import value_counts
from pipeline.records.manifest import Sample
from pipeline.training.batches import RARE_CLASSES, generator
from pipeline.training.domain_adaptation.enabled import Adaptation

LARGEST_WEIGHT = 3.0
TEMPERATURE = 0.1  # T; DAFormer's own .01 hardly draws a class of more than a few percent


def class_weights(store: ImageStore, labelled: Sequence[Sample], params: Params) -> Tensor | None:
    """weights_K of the labelled loss by train.class_weights; None without any."""
    if params.train.class_weights == "none":
        return None
    counts_NK = count_classes(store, labelled, params.num_classes)
    return sqrt_inverse_weights(class_shares(counts_NK))


def rare_classes(
    store: ImageStore, labelled: Sequence[Sample], params: Params, adaptation: Adaptation
) -> RareClasses | None:
    """How labelled images are drawn by train.rare_class_sampling; None = in shuffled passes."""
    if not params.train.rare_class_sampling:
        return None
    counts_NK = count_classes(store, labelled, params.num_classes)
    own_N = torch.tensor([adaptation.is_target(sample) for sample in labelled])
    weight = params.adapt.source_weight
    if weight == 1 or not own_N.any():
        return RareClasses(counts_NK)
    return RareClasses(counts_NK, torch.where(own_N, 1.0, weight))


def count_classes(store: ImageStore, samples: Sequence[Sample], num_classes: int) -> Tensor:
    """int64 counts_NK of labelled pixels, at the store's size."""
    counts_NK = torch.zeros(len(samples), num_classes, dtype=torch.int64)
    for place, sample in enumerate(samples):
        counts = value_counts(store.mask(sample).numpy())
        counts_NK[place] = torch.from_numpy(counts[:num_classes])
    return counts_NK


def class_shares(counts_NK: Tensor) -> Tensor:
    """f_K: each class's share of all labelled pixels; all 0 where there is none."""
    total_K = counts_NK.sum(0).double()
    return total_K / total_K.sum().clamp(min=1)


def sqrt_inverse_weights(shares_K: Tensor) -> Tensor:
    """w_c = min(3, s / sqrt(f_c)), s such that the labelled pixels weigh 1 on average.

    Classes without a pixel get 1; they occur in no loss.
    """
    present_K = shares_K > 0
    clipped_K = torch.zeros_like(present_K)
    weights_K = torch.ones_like(shares_K)
    # Clipping some leaves more for the others, which may then reach the bound as well.
    for _ in range(len(shares_K)):
        free_K = present_K & ~clipped_K
        left = 1.0 - LARGEST_WEIGHT * shares_K[clipped_K].sum()
        scale = left / shares_K[free_K].sqrt().sum()
        weights_K[free_K] = scale / shares_K[free_K].sqrt()
        over_K = free_K & (weights_K > LARGEST_WEIGHT)
        if not over_K.any():
            break
        clipped_K |= over_K
        weights_K[over_K] = LARGEST_WEIGHT
    return weights_K.float()


class RareClasses:
    """Draws labelled images by class, rare ones more often (DAFormer, Hoyer et al. 2022)."""

    def __init__(self, counts_NK: Tensor, weights_N: Tensor | None = None) -> None:
        """P(c) ~ exp((1 - f_c) / T) over the classes that have a pixel.

        Of the images that have a class, each is drawn as often as it weighs; None = all alike.
        """
        self._weights_N = weights_N
        if weights_N is not None:
            counts_NK = counts_NK * (weights_N > 0)[:, None]
        shares_K = class_shares(counts_NK)
        logits_K = ((1.0 - shares_K) / TEMPERATURE).masked_fill(shares_K == 0, -torch.inf)
        self.probs_K = logits_K.softmax(dim=0) if shares_K.any() else torch.zeros_like(shares_K)
        self._places = [column.nonzero().flatten().tolist() for column in counts_NK.T]
        self._num_samples = len(counts_NK)

    def draw(self, seed: int, places: range) -> list[int]:
        """Samples at `places` of an endless sequence: for each a class, then one that has it."""
        return [self._one(seed, place) for place in places]

    def _one(self, seed: int, place: int) -> int:
        draw = generator(seed, RARE_CLASSES, place)
        if not self.probs_K.any():  # masks of nothing but IGNORE
            return int(torch.randint(self._num_samples, (), generator=draw))
        chosen = int(torch.multinomial(self.probs_K, 1, generator=draw))
        having = self._places[chosen]
        if self._weights_N is not None:
            weights = self._weights_N[having]
            return having[int(torch.multinomial(weights, 1, generator=draw))]
        return having[int(torch.randint(len(having), (), generator=draw))]
