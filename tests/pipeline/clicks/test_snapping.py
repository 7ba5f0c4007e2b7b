from __future__ import annotations

import numpy as np

from pipeline.clicks.patches.prepared_image import LookedAt, prepared
from pipeline.clicks.patches.snapping import Snap, connected, pixel_mask, snapped

RNG = np.random.default_rng(1)
EXACT = Snap(steps=500, tolerance=1e-9)


def test_the_band_solves_its_system_written_plainly() -> None:
    colours = RNG.uniform(size=(6, 7, 3)).astype(np.float32)
    prior = RNG.uniform(size=(6, 7)).astype(np.float32)
    band = np.zeros((6, 7), bool)
    band[1:5, 2:6] = True
    found = snapped(colours, prior, band, EXACT)

    system, right = np.eye(42), prior.ravel().astype(float)
    for row, column in zip(*np.nonzero(band), strict=True):
        place = row * 7 + column
        right[place] *= EXACT.strength
        system[place, place] = EXACT.strength
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                if (down, across) == (0, 0):
                    continue
                other = (row + down, column + across)
                change = np.linalg.norm(colours[row, column] - colours[other])
                weight = np.exp(-EXACT.colour * change) + EXACT.least
                weight /= np.hypot(down, across)
                system[place, place] += weight
                system[place, other[0] * 7 + other[1]] -= weight
    assert np.allclose(found.ravel(), np.linalg.solve(system, right), atol=1e-5)


def test_the_border_of_coarse_patches_moves_to_the_images_edge() -> None:
    pixels = np.full((96, 120, 3), 40, np.uint8)
    pixels[:, 61:] = 200
    image = prepared(pixels, LookedAt(np.zeros((4, 24, 30), np.float32), None))
    side = 12  # patches that know nothing of the edge
    rows, columns = np.mgrid[:96, :120] // side
    coarse_HW = (rows * 10 + columns).astype(np.int32)
    pairs = [[i, i + 1] for i in range(80) if i % 10 < 9] + [[i, i + 10] for i in range(70)]
    coarse = type(image)(
        **{
            **vars(image),
            "patch_hw": coarse_HW,
            "pair_P2": np.array(pairs, np.int32),
            "border_P": np.full(len(pairs), 12, np.float32),
            "colour_N3": np.zeros((80, 3), np.float32),
        }
    )
    x_N = (np.arange(80) % 10 >= 5).astype(np.float32) * 0.9 + 0.05
    x_N[np.arange(80) % 10 == 5] = 0.6
    found = pixel_mask(coarse, x_N, Snap(strength=0.05))
    assert not found[10:80, :61].any()
    assert found[10:80, 61:].all()


def test_only_areas_that_were_clicked_stay() -> None:
    mask = np.zeros((5, 9), bool)
    mask[1:3, 1:3] = mask[1:3, 5:8] = True
    assert np.array_equal(connected(mask, [(1, 6)]), mask & (np.arange(9) > 4))
    assert not connected(mask, [(4, 8)]).any()
