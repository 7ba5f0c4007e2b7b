"""Against a second, plain writing of each formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.clicks.marks import BoxMark, Click
from pipeline.clicks.patches.marked_patches import MarkedPatches, marked_patches
from pipeline.clicks.patches.patch_evidence import WITH_TEACHER, evidence
from pipeline.clicks.patches.prepared_image import LookedAt, PreparedImage, prepared
from pipeline.clicks.patches.propagation import (
    Walk,
    geodesic,
    random_walk,
    walk_costs,
    walk_weights,
)
from tests.pipeline.clicks.conftest import SIZE, disc_HW

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def image() -> PreparedImage:
    pixels = RNG.integers(0, 60, (*SIZE, 3), dtype=np.uint8)
    pixels[disc_HW()] += 150
    cells = RNG.normal(size=(20, 18, 24)).astype(np.float32)
    probs = RNG.dirichlet(np.ones(3), SIZE).transpose(2, 0, 1).astype(np.float32)
    return prepared(pixels, LookedAt(cells, probs))


def test_the_walk_solves_gradys_system(image: PreparedImage) -> None:
    weights_P = walk_weights(image, walk_costs(image, Walk()), Walk())
    count = len(image.colour_N3)
    prior_N = RNG.uniform(size=count).astype(np.float32)
    fixed_N = np.full(count, np.nan, np.float32)
    fixed_N[[3, 40]], fixed_N[[7, 90]] = 1, 0
    found_N = random_walk(image, weights_P, prior_N, 0.1, fixed_N)

    dense = np.zeros((count, count))
    for (one, other), weight in zip(image.pair_P2, weights_P, strict=True):
        dense[one, other] = dense[other, one] = weight
    g = 0.1 * dense.sum(1).mean()
    system = np.diag(dense.sum(1) + g) - dense
    right = g * prior_N.astype(float)
    for place in np.flatnonzero(~np.isnan(fixed_N)):
        system[place] = 0
        system[place, place], right[place] = 1, fixed_N[place]
    assert np.allclose(found_N, np.linalg.solve(system, right), atol=1e-4)


def test_the_cheapest_way_by_relaxing_every_edge(image: PreparedImage) -> None:
    costs_P = walk_costs(image, Walk())
    way_N = np.full(len(image.colour_N3), np.inf)
    way_N[[5, 60]] = 0
    for _ in range(len(way_N)):
        before = way_N.copy()
        for (one, other), cost in zip(image.pair_P2, costs_P + 1e-6, strict=True):
            way_N[one] = min(way_N[one], way_N[other] + cost)
            way_N[other] = min(way_N[other], way_N[one] + cost)
        if (before == way_N).all():
            break
    found_N = geodesic(image, costs_P, np.array([5, 60]))
    assert np.allclose(found_N, way_N, rtol=1e-4, atol=1e-4)


def _evidence(image: PreparedImage, *clicks: Click) -> np.ndarray:
    marked = marked_patches(image, clicks)
    return evidence(image, marked, 1, walk_costs(image, Walk()), WITH_TEACHER)


def test_evidence_of_one_patch_by_hand(image: PreparedImage) -> None:
    click, other = Click(30, 55), Click(5, 5, positive=False)
    patch = int(image.patch_hw[50, 20])
    mark, beside = int(image.patch_hw[30, 55]), int(image.patch_hw[5, 5])
    costs_P, w = walk_costs(image, Walk()), WITH_TEACHER

    def terms(at: int) -> tuple[float, float, float]:
        place = np.linalg.norm(image.place_N2[patch] - image.place_N2[at])
        colour = np.linalg.norm(image.colour_N3[patch] - image.colour_N3[at])
        way = geodesic(image, costs_P, np.array([at]))[patch]
        return np.log(place + 0.02), colour, np.log(way + 0.05)

    near, far = terms(mark), terms(beside)
    chance = image.probs_NK[patch, 1]
    odds = w.bias + w.odds * np.log((chance + 0.02) / (1.02 - chance)) + w.negative
    odds += w.distance * near[0] + w.colour * near[1] + w.way * near[2]
    gaps = [b - a for a, b in zip(near, far, strict=True)]
    odds += w.distance_gap * gaps[0] + w.colour_gap * gaps[1] + w.way_gap * gaps[2]
    assert np.isclose(_evidence(image, click, other)[patch], 1 / (1 + np.exp(-odds)), atol=1e-5)


def test_a_likelier_class_speaks_for_a_patch(image: PreparedImage) -> None:
    marked, costs_P = marked_patches(image, [Click(30, 55)]), walk_costs(image, Walk())
    surer = replace(image, probs_NK=(image.probs_NK + np.array([0, 1, 0], "f")) / 2)
    before_N = evidence(image, marked, 1, costs_P, WITH_TEACHER)
    after_N = evidence(surer, marked, 1, costs_P, WITH_TEACHER)
    assert (after_N > before_N).all()


def test_marks_fix_their_patches_and_boxes_the_outside(image: PreparedImage) -> None:
    marks = [Click(30, 55), Click(60, 10, positive=False), BoxMark(10, 30, 50, 80)]
    found: MarkedPatches = marked_patches(image, marks)
    assert found.fixed_N[image.patch_hw[30, 55]] == 1
    assert found.fixed_N[image.patch_hw[60, 10]] == 0
    assert found.fixed_N[image.patch_hw[70, 90]] == 0
    assert np.isnan(found.fixed_N[image.patch_hw[20, 40]])
    assert found.count == 2


def test_a_box_alone_marks_its_middle(image: PreparedImage) -> None:
    found = marked_patches(image, [BoxMark(10, 30, 50, 80)])
    assert found.clicked == ((30, 55),)
    assert found.positive_S.tolist() == [int(image.patch_hw[30, 55])]
