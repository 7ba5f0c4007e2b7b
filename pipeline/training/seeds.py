"""Seeds of everything random in a training: (seed, step, purpose), and nothing before it.

So a run that is killed and resumed draws at step t what an uninterrupted one draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

# Purposes: streams of random numbers that must not meet.
INITIAL_WEIGHTS, LABELLED, UNLABELLED, NOISE, ORDER_LABELLED, ORDER_UNLABELLED = range(6)
RARE_CLASSES, STYLE = 6, 7


def derive_seed(seed: int, purpose: int, *numbers: int) -> int:
    """A 63-bit seed that is another for every combination."""
    state = np.random.SeedSequence([seed, purpose, *numbers]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(seed: int, purpose: int, *numbers: int) -> torch.Generator:
    """A CPU generator for one purpose at one step."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *numbers))


def draw_indices(seed: int, purpose: int, num_samples: int, places: Sequence[int]) -> list[int]:
    """Samples at `places` of an endless sequence of shuffled passes over all samples.

    Every sample comes once per pass; with fewer samples than places they repeat.
    """
    orders: dict[int, list[int]] = {}
    for epoch in {place // num_samples for place in places}:
        order = torch.randperm(num_samples, generator=generator(seed, purpose, epoch))
        orders[epoch] = order.tolist()
    return [orders[place // num_samples][place % num_samples] for place in places]
