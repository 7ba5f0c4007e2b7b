from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipeline.clicks.patches.superpixels import grow_patches, neighbours, pixel_graph, smoothed
from tests.pipeline.clicks.conftest import disc_HW


def _picture() -> np.ndarray:
    pixels = np.full((72, 96, 3), 40, np.uint8)
    pixels[disc_HW()] = (190, 100, 40)
    return pixels


def test_patches_are_connected_and_all_there() -> None:
    patches = grow_patches(_picture(), 6.0)
    assert set(np.unique(patches.patch_HW)) == set(range(patches.count))
    for number in range(patches.count):
        _, parts = ndimage.label(patches.patch_HW == number, np.ones((3, 3)))
        assert parts == 1
    assert 0.8 < patches.count * 36 / (72 * 96) < 1.2


def test_no_patch_crosses_an_edge_by_much() -> None:
    patches = grow_patches(_picture(), 6.0)
    share = patches.means(disc_HW()[..., None].astype(float))[:, 0]
    best_HW = (share > 0.5)[patches.patch_HW]
    assert (best_HW & disc_HW()).sum() / (best_HW | disc_HW()).sum() > 0.95


def test_pairs_and_their_borders_counted_one_by_one() -> None:
    patches = grow_patches(_picture()[20:40, 40:70], 5.0)
    number_HW, counted = patches.patch_HW, dict[tuple[int, int], int]()
    height, width = number_HW.shape
    for row in range(height):
        for column in range(width):
            for other in ((row + 1, column), (row, column + 1)):
                if other[0] < height and other[1] < width:
                    pair = sorted((int(number_HW[row, column]), int(number_HW[other])))
                    if pair[0] != pair[1]:
                        counted[pair[0], pair[1]] = counted.get((pair[0], pair[1]), 0) + 1
    borders = zip(patches.pair_P2.tolist(), patches.border_P, strict=True)
    pairs = {tuple(pair): int(length) for pair, length in borders}
    assert pairs == counted


def test_neighbours_are_where_they_are_said_to_be() -> None:
    number = np.arange(12).reshape(3, 4)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here, there = neighbours((3, 4), down, right)
        assert (number[there] - number[here] == 4 * down + right).all()
        assert number[here].size == (3 - down) * (4 - abs(right))


def test_a_step_costs_what_the_colour_changes_and_its_length() -> None:
    colours = smoothed(_picture())
    graph = pixel_graph(colours, 0.5)
    place, other = 20 * 96 + 41, 21 * 96 + 42
    change = np.sqrt(np.square(colours[20, 41] - colours[21, 42]).sum())
    assert np.isclose(graph[place, other], change + 0.5 * np.sqrt(2))
