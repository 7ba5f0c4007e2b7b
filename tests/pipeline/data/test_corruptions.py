"""Altered images: what each way does to values that can be reckoned by hand."""

from __future__ import annotations

import pytest
import torch

from pipeline.data.corruptions import ALTERATIONS, Alteration, altered

IMAGE_CHW = torch.tensor([200, 100, 40], dtype=torch.uint8)[:, None, None].expand(3, 24, 30)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("half the light", (100, 50, 20)),
        ("darker shadows", (157, 39, 6)),
        ("fog", (215, 165, 135)),
        ("warm light", (220, 85, 24)),
        ("inverted", (55, 155, 215)),
        ("without colour", (123, 123, 123)),
        ("out of focus", (200, 100, 40)),
    ],
)
def test_values_of_a_plain_image(name: str, expected: tuple[int, int, int]) -> None:
    found_CHW = altered(IMAGE_CHW, ALTERATIONS[name])
    assert found_CHW.dtype == torch.uint8
    assert found_CHW.shape == IMAGE_CHW.shape
    for values_HW, value in zip(found_CHW, expected, strict=True):
        assert (values_HW.int() - value).abs().max() <= 1


def test_values_stay_in_range_and_every_way_changes_something_else() -> None:
    image_CHW = torch.randint(0, 256, (3, 32, 40), generator=torch.Generator().manual_seed(0))
    found = [altered(image_CHW.byte(), way) for way in ALTERATIONS.values()]
    assert len({each.numpy().tobytes() for each in found}) == len(ALTERATIONS)
    assert all(not torch.equal(each, image_CHW.byte()) for each in found)
    assert torch.equal(altered(image_CHW.byte(), Alteration()), image_CHW.byte())


def test_noise_is_as_strong_as_said_and_the_same_each_time() -> None:
    grey_CHW = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    once, again = (altered(grey_CHW, Alteration(noise=0.06)) for _ in range(2))
    assert torch.equal(once, again)
    assert once.float().std().item() == pytest.approx(0.06 * 255, rel=0.05)


def test_blur_is_a_share_of_the_height() -> None:
    edge_CHW = torch.zeros((3, 200, 40), dtype=torch.uint8)
    edge_CHW[:, 100:] = 255
    blurred_H = altered(edge_CHW, Alteration(blur=0.01))[0, :, 20].float() / 255
    # Of a step blurred by sigma, 84 % lies within one sigma: 2 of 200 pixels.
    assert blurred_H[101].item() == pytest.approx(0.77, abs=0.04)
    assert blurred_H[103].item() == pytest.approx(0.96, abs=0.03)
