"""Random-intensity operations against torchvision's, and what their mixture promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from pipeline.data import random_intensity as ours


@pytest.fixture
def images() -> Tensor:
    """Three unlike images in 256 levels; the last has a channel of one value."""
    draw = torch.Generator().manual_seed(0)
    images_BCHW = torch.rand(3, 3, 40, 48, generator=draw) ** 2 * 0.8 + 0.1
    images_BCHW[2, 1] = 0.5
    return (images_BCHW * 255).round() / 255


STRENGTHS = torch.tensor([0.0, 0.4, 0.9])
FACTORS = (0.05 + 0.9 * STRENGTHS).tolist()
TORCHVISION = {
    "identity": lambda image, b: image,
    "autocontrast": lambda image, b: T.autocontrast(image),
    "equalise": lambda image, b: T.equalize((image * 255).round().to(torch.uint8)) / 255,
    "brightness": lambda image, b: T.adjust_brightness(image, FACTORS[b]),
    "colour": lambda image, b: T.adjust_saturation(image, FACTORS[b]),
    "contrast": lambda image, b: T.adjust_contrast(image, FACTORS[b]),
    "sharpness": lambda image, b: T.adjust_sharpness(image, FACTORS[b]),
    "solarise": lambda image, b: T.solarize(image, float(STRENGTHS[b])),
    "hue": lambda image, b: T.adjust_hue(image, float(STRENGTHS[b]) - 0.5),
    "posterise": lambda image, b: (
        T.posterize((image * 255).round().to(torch.uint8), (4, 5, 7)[b]) / 255
    ),
}


def operated(name: str, images: Tensor) -> Tensor:
    pairs = zip(images, STRENGTHS.tolist(), strict=True)
    return torch.stack([ours.OPERATIONS[name](*pair) for pair in pairs])


@pytest.mark.parametrize("name", TORCHVISION)
def test_an_operation_is_torchvisions(name: str, images: Tensor) -> None:
    mine = operated(name, images)
    theirs = torch.stack([TORCHVISION[name](image, b) for b, image in enumerate(images)])
    # torchvision's weights of grey have one digit more: half a level of 255.
    torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ours.OPERATIONS)
def test_an_operation_stays_in_range_and_leaves_its_input_alone(name: str, images: Tensor) -> None:
    before = images.clone()
    made = operated(name, images)
    assert made.shape == images.shape
    assert made.dtype == images.dtype
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(images, before)


def test_the_same_generator_gives_the_same_views(images: Tensor) -> None:
    before = images.clone()
    one, two = (
        ours.random_intensity_view(images, torch.Generator().manual_seed(seed)) for seed in (1, 1)
    )
    assert torch.equal(one, two)
    assert torch.equal(images, before)
    other = ours.random_intensity_view(images, torch.Generator().manual_seed(2))
    assert not torch.equal(one, other)


def test_one_to_three_operations_are_drawn_evenly(monkeypatch) -> None:
    counts = {}

    def counting(number: int):
        def operation(image_CHW: Tensor, _strength: float) -> Tensor:
            counts[number] = counts.get(number, 0) + 1
            return image_CHW + 1

        return operation

    monkeypatch.setattr(ours, "OPERATIONS", {i: counting(i) for i in range(11)})
    draw = torch.Generator().manual_seed(0)
    views = ours.random_intensity_view(torch.zeros(3000, 1, 1, 1), draw).flatten()
    assert set(views.tolist()) == {1.0, 2.0, 3.0}
    assert all(900 < (views == count).sum() < 1100 for count in (1, 2, 3))
    assert all(450 < counts[number] < 650 for number in range(11))
