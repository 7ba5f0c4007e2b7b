"""The strategy `stratified_random`: at random, but class by class."""

from __future__ import annotations

import numpy as np

from pipeline.acquisition.pool import Pick, Pool
from pipeline.config.params import AcquireParams


def stratified_random(
    pool: Pool, num: int, params: AcquireParams, rng: np.random.Generator
) -> list[Pick]:
    """One image per predicted class in turn, classes in a drawn order.

    An image is drawn with a chance that goes with the class's share of it, so that classes of few
    pixels (the foreground, as a rule) come as often as those of many; cf. the foreground-aware
    random baseline of nnActive (2025).
    """
    found = pool.known_by_class
    left = np.ones(len(pool), dtype=bool)
    classes = rng.permutation(found.shares_NK.shape[1])
    picks = []
    for place in range(num):
        wanted = int(classes[place % len(classes)])
        chances_N = found.shares_NK[:, wanted] * left
        if chances_N.sum() == 0:  # predicted nowhere: any image is as good
            chances_N = left.astype(float)
        row = int(rng.choice(len(pool), p=chances_N / chances_N.sum()))
        left[row] = False
        share = float(found.shares_NK[row, wanted])
        picks.append(
            Pick(
                sample_id=pool.sample_ids[row],
                score=min(1.0, share),
                reason=f"random pick for {found.name(wanted)}, {share:.1%} of the image",
            )
        )
    return picks
