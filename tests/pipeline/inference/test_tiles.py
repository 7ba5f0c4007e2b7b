import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.augment import normalise
from pipeline.inference import tiles
from pipeline.inference.tiles import OVERLAP, TileSettings, starts, tiled
from tests.support.whole_logits import whole

TILE = (64, 96)
SETTINGS = TileSettings(TILE, "imagenet", torch.device("cpu"))
NEAR = 4  # pixels that the network below sees on each side of one


def image(height: int, width: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=draw, dtype=torch.uint8)


def local_network(*, border: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Five classes from the 9 x 9 pixels around each; what lies outside is taken as `border`."""
    weights = torch.randn(
        5, 3, 2 * NEAR + 1, 2 * NEAR + 1, generator=torch.Generator().manual_seed(1)
    )

    def network(images_BCHW: Tensor) -> Tensor:
        return F.conv2d(F.pad(images_BCHW, (NEAR,) * 4, value=border), weights)

    return network


def logits_of(
    pixels: Tensor, network: Callable[[Tensor], Tensor], settings: TileSettings = SETTINGS
) -> Tensor:
    [found] = [whole(bands) for _, bands in tiled([("a", pixels)], [network], settings)]
    return found[network]


@pytest.mark.parametrize("side", [1, 31, 63, 64, 65, 96, 97, 160, 500, 1080])
@pytest.mark.parametrize("tile", [32, 64, 96, 256])
def test_tiles_cover_a_side_and_overlap(side: int, tile: int) -> None:
    found = starts(side, tile)
    assert found[0] == 0
    assert all(first % 32 == 0 for first in found)
    assert side <= found[-1] + tile < max(side, tile) + 32
    steps = [after - before for before, after in pairwise(found)]
    allowed = max(32, tile * (1 - OVERLAP))
    assert all(0 < step <= allowed for step in steps)
    # As few as that: one fewer could not reach the end.
    assert len(found) == 1 or (len(found) - 2) * (allowed // 32 * 32) + tile < side


def test_an_image_of_one_tile_is_seen_as_it_is() -> None:
    network, pixels = local_network(), image(*TILE)
    expected = network(normalise(pixels[None], "imagenet"))[0]
    assert torch.equal(logits_of(pixels, network), expected)


def test_a_smaller_image_is_continued_by_its_last_pixels() -> None:
    network, pixels = local_network(), image(50, 70)
    whole = F.pad(pixels[None].float(), (0, 26, 0, 14), mode="replicate").to(torch.uint8)
    expected = network(normalise(whole, "imagenet"))[0, :, :50, :70]
    assert torch.equal(logits_of(pixels, network), expected)


def test_where_one_tile_alone_sees_the_logits_are_those_of_the_whole_image() -> None:
    network, pixels = local_network(), image(160, 288)  # both multiples of 32: nothing is added
    whole = network(normalise(pixels[None], "imagenet"))[0]
    found = logits_of(pixels, network)
    assert found.shape == whole.shape
    seen = torch.zeros(160, 288)
    for top in starts(160, 64):
        for left in starts(288, 96):
            seen[top : top + 64, left : left + 96] += 1
    alone = (seen == 1)[NEAR:-NEAR, NEAR:-NEAR]
    assert alone.float().mean() > 0.1
    difference = (found - whole)[:, NEAR:-NEAR, NEAR:-NEAR].abs()
    assert difference[:, alone].max() < 1e-4


@pytest.mark.parametrize("axis", [0, 1])
def test_overlapping_tiles_weigh_less_towards_their_borders(axis: int) -> None:
    """By a second writing: every pixel's mean over its tiles, one pixel at a time."""
    side, length = TILE[axis], 2 * TILE[axis] + 40
    size = (length, TILE[1]) if axis == 0 else (TILE[0], length)

    def by_place(images_BCHW: Tensor) -> Tensor:
        """Another value at each place of a tile, so that a pixel's tiles say different things."""
        places = torch.arange(float(side)).unsqueeze(1 - axis)
        return places.expand(len(images_BCHW), 1, *TILE)

    found = logits_of(image(*size), by_place)[0].select(1 - axis, 30)
    for place in range(length):
        weights, values = 0.0, 0.0
        for first in starts(length, side):
            inside = place - first
            if 0 <= inside < side:
                weight = min(1.0, min(inside + 0.5, side - 0.5 - inside) / (0.25 * side))
                weights, values = weights + weight, values + weight * inside
        assert found[place].item() == pytest.approx(values / weights, abs=1e-4)


def test_a_band_comes_before_the_tiles_below_it_are_cut() -> None:
    cut: list[int] = []

    def network(images_BCHW: Tensor) -> Tensor:
        cut.append(len(images_BCHW))
        return images_BCHW

    _, bands = next(tiled([("a", image(64 * 30, 96 * 8))], [network], SETTINGS))
    first = next(bands)[network]
    assert first.first == 0
    assert first.end < first.height
    assert sum(cut) <= 2 * len(starts(96 * 8, 96)) + 8


def test_a_large_image_is_let_go_before_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MANY", 8)
    alive: list[weakref.ref[Tensor]] = []

    def images() -> Iterator[tuple[int, Tensor]]:
        for key in range(3):
            assert all(each() is None for each in alive)
            pixels = image(64 * 9, 96 * 3)
            alive.append(weakref.ref(pixels))
            yield key, pixels
            del pixels

    for key, bands in tiled(images(), [local_network()], SETTINGS):
        assert len(list(bands)) == len(starts(64 * 9, 64))
        assert len(alive) == key + 1


def test_bands_that_nobody_takes_are_passed_over() -> None:
    pixels = {str(seed): image(200, 200, seed=seed) for seed in range(3)}
    found = [key for key, _ in tiled(pixels.items(), [local_network()], SETTINGS)]
    assert found == list(pixels)


def test_images_of_several_sizes_come_back_in_order_and_at_their_own_size() -> None:
    network = local_network()
    sizes = [(64, 96), (200, 96), (20, 300), (64, 96), (129, 130)]
    pixels = {str(seed): image(*size, seed=seed) for seed, size in enumerate(sizes)}
    found = [(key, whole(bands)) for key, bands in tiled(pixels.items(), [network], SETTINGS)]
    assert [key for key, _ in found] == list(pixels)
    for key, logits in found:
        assert logits[network].shape[-2:] == pixels[key].shape[-2:]
        assert torch.allclose(logits[network], logits_of(pixels[key], network), atol=1e-4)


def test_several_views_see_the_same_tiles() -> None:
    one, other, pixels = local_network(), local_network(border=3.0), image(100, 200)
    [both] = [whole(bands) for _, bands in tiled([("a", pixels)], [one, other], SETTINGS)]
    assert torch.allclose(both[one], logits_of(pixels, one), atol=1e-4)
    assert torch.allclose(both[other], logits_of(pixels, other), atol=1e-4)


@pytest.mark.parametrize("stride", [4, 32, 24])
def test_a_view_may_give_cells_of_several_pixels(stride: int) -> None:
    def cells(images_BCHW: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images_BCHW, (96 // stride, 96 // stride))

    settings = TileSettings((96, 96), "symmetric", torch.device("cpu"))
    pixels = image(192, 320)
    pixels[:] = (torch.arange(320) // 32 * 25).to(torch.uint8)  # columns of one value each
    [found] = [whole(bands) for _, bands in tiled([("a", pixels)], [cells], settings)]
    of_cell = 32 if stride == 24 else stride  # 24 does not divide 32: cells are joined
    assert found[cells].shape == (3, 192 // of_cell, 320 // of_cell)
    expected = F.avg_pool2d(normalise(pixels[None], "symmetric"), of_cell)[0]
    tolerance = 0.2 if stride == 24 else 1e-4
    assert (found[cells] - expected).abs().max() < tolerance
