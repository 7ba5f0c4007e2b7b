"""From marked patches to the patches of one thing: a random walker with priors on their graph.

Grady 2005, "Multilabel random walker image segmentation using prior models": x of each patch is the
chance that a walker who starts there meets a positive mark before a negative one, where at every
step he may also end, and then counts by what the patch looks like by itself:
(L + g I) x = g prior, x = 1 and 0 at the marks, L the graph's Laplacian. N patches, P pairs, D
features, K classes, S marked patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

from pipeline.clicks.patches.prepared_image import PreparedImage

Floats = NDArray[np.float32]
Places = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What holds a walker back, and how soon he ends."""

    colour: float = 20.0
    feature: float = 0.3
    probs: float = 3.0
    least: float = 1e-3
    """Of an edge's weight, which is exp(-cost)."""
    strength: float = 0.05
    """g of one mark, in units of the mean sum of a patch's edge weights; of M marks M^2 times less:
    the more a person says, the less looks count."""


def edge_changes(image: PreparedImage) -> tuple[Floats, Floats, Floats]:
    """How much colour, features and class probabilities change across each pair's border."""
    one, other = image.pair_P2.T
    colour = np.sqrt(np.square(image.colour_N3[one] - image.colour_N3[other]).sum(1))
    feature = np.sqrt(np.square(image.feature_ND[one] - image.feature_ND[other]).sum(1))
    probs = np.abs(image.probs_NK[one] - image.probs_NK[other]).sum(1) / 2
    return colour, feature, probs


def walk_costs(image: PreparedImage, walk: Walk) -> Floats:
    """costs_P of a step between the patches of each pair, 0 or more."""
    colour, feature, probs = edge_changes(image)
    costs_P = walk.colour * colour + walk.feature * feature + walk.probs * probs
    return costs_P.astype(np.float32)


def walk_weights(image: PreparedImage, costs_P: Floats, walk: Walk) -> Floats:
    """weights_P: how easily a walker crosses each border, the more the longer it is."""
    return ((np.exp(-costs_P) + walk.least) * image.border_P).astype(np.float32)


def geodesic(image: PreparedImage, costs_P: Floats, marked_S: Places) -> Floats:
    """distance_N of the cheapest way from each patch to a marked one; infinite without marks."""
    count = len(image.colour_N3)
    if not len(marked_S):
        return np.full(count, np.inf, np.float32)
    one, other = image.pair_P2.T
    # Zeros are no edges to scipy.
    graph = sparse.coo_array((costs_P + 1e-6, (one, other)), shape=(count, count)).tocsr()
    found = csgraph.dijkstra(graph, directed=False, indices=marked_S, min_only=True)
    return found.astype(np.float32)


def random_walk(
    image: PreparedImage, weights_P: Floats, prior_N: Floats, strength: float, fixed_N: Floats
) -> Floats:
    """x_N in [0, 1]; `fixed_N` is 1 and 0 where marks say so, NaN elsewhere."""
    count = len(prior_N)
    one, other = image.pair_P2.T
    around = np.bincount(one, weights_P, count) + np.bincount(other, weights_P, count)
    g = strength * around.mean()
    free = np.flatnonzero(np.isnan(fixed_N))
    known = np.flatnonzero(~np.isnan(fixed_N))
    graph = sparse.coo_array((weights_P, (one, other)), shape=(count, count))
    graph = (graph + graph.T).tocsr()
    system = (sparse.diags_array(around + g).tocsr() - graph).tocsr()
    right = g * prior_N[free] + graph[free][:, known] @ fixed_N[known]
    found = fixed_N.astype(np.float64)
    if len(free):
        factors = splu(
            system[free][:, free].tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        found[free] = factors.solve(right)
    return found.clip(0, 1).astype(np.float32)
