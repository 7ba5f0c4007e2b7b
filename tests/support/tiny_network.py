"""A network of all parts, so small that a test can count with it. D channels of features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.params import MethodParams
from pipeline.methods import Batch, MethodSetup, StrongView, Unlabelled
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import labelled_loss
from pipeline.models.segmenter import Segmenter
from pipeline.types import IGNORE

NUM_CLASSES = 4
SIZE = (32, 32)


class TinyEncoder(nn.Module):
    """The image and two maps, at half and at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        )

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        half = self.first(images_BCHW)
        return [images_BCHW, half, self.second(half)]


class TinyDecoder(nn.Module):
    """Batch norm and dropout, like the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.body = nn.Sequential(
            nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        _, half, quarter = features
        return self.body(torch.cat([half, self.up(quarter)], dim=1))


def tiny_network(number: int = 0, num_classes: int = NUM_CLASSES) -> Segmenter:
    """The same number gives the same weights."""
    torch.manual_seed(number)
    return Segmenter(
        encoder=TinyEncoder(), decoder=TinyDecoder(), head=nn.Conv2d(8, num_classes, 1)
    )


class PixelNetwork(nn.Module):
    """One convolution in the shape of a Segmenter: formulas can be computed by hand."""

    def __init__(self, num_classes: int = NUM_CLASSES, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Conv2d(3, num_classes, 3, padding=1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.decode(self.encode(images_BCHW))

    def with_auxiliary(self, images_BCHW: Tensor) -> tuple[Tensor, None]:
        return self(images_BCHW), None

    def encode(self, images_BCHW: Tensor) -> list[Tensor]:
        return [images_BCHW, images_BCHW]

    def represent(self, features: list[Tensor]) -> Tensor:
        return features[1]

    def classify(self, representation_BDhw: Tensor, like: Tensor) -> Tensor:
        return self.head(representation_BDhw)

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.classify(self.represent(features), features[0])


class TinySet:
    """A whole unlabelled set."""

    def __init__(self, num_images: int = 6, size: tuple[int, int] = SIZE) -> None:
        draw = torch.Generator().manual_seed(99)
        self.images = torch.rand(num_images, 3, *size, generator=draw)

    def __len__(self) -> int:
        return len(self.images)

    def batches(self):
        for first in range(0, len(self.images), 4):
            group = self.images[first : first + 4]
            yield torch.arange(first, first + len(group)), group


def tiny_setup(params: MethodParams, num_classes: int = NUM_CLASSES, **changes: Any) -> MethodSetup:
    """Ten steps on networks of one convolution, unless `changes` say otherwise."""
    facts: dict[str, Any] = {
        "num_steps": 10,
        "new_network": lambda number: PixelNetwork(num_classes, seed=number),
        "labelled_loss": labelled_loss,
        "unlabelled": TinySet(),
    }
    return MethodSetup(params=params, num_classes=num_classes, **{**facts, **changes})


def estrange(teacher: Teacher) -> None:
    """Make a teacher unlike its student, and sure of some pixels; by torch's generator."""
    with torch.no_grad():
        for p in teacher.network.parameters():
            p.add_(torch.randn_like(p))


def unlabelled_batch(num_images: int, height: int, width: int) -> Batch:
    """Ignored labels; one strong view, boxes and padding pixel by pixel; by torch's generator."""
    boxes_BHW = torch.rand(num_images, height, width) < 0.4
    valid_BHW = torch.rand(num_images, height, width) < 0.8
    view = StrongView(torch.rand(num_images, 3, height, width), boxes_BHW)
    weak_BCHW = torch.rand(num_images, 3, height, width)
    unlabelled = Unlabelled(torch.arange(num_images), weak_BCHW, valid_BHW, (view,))
    masks_BHW = torch.full((2, height, width), IGNORE)
    return Batch(torch.rand(2, 3, height, width), masks_BHW, unlabelled)


def new_batch(
    num_strong_views: int,
    seed: int = 0,
    *,
    labelled: int = 2,
    unlabelled: int = 3,
    size: tuple[int, int] = SIZE,
) -> Batch:
    """Odd and unequal batches; a box in every image; a corner of padding."""
    draw = torch.Generator().manual_seed(seed)
    masks_BHW = torch.randint(NUM_CLASSES, (labelled, *size), generator=draw)
    masks_BHW[:, :3] = IGNORE
    images_BCHW = torch.rand(labelled, 3, *size, generator=draw)
    if not num_strong_views:
        return Batch(images_BCHW, masks_BHW, None)
    valid_BHW = torch.ones(unlabelled, *size, dtype=torch.bool)
    valid_BHW[:, -size[0] // 4 :] = False
    boxes_BHW = torch.zeros(unlabelled, *size, dtype=torch.bool)
    boxes_BHW[:, size[0] // 8 : size[0] // 2, size[1] // 8 : size[1] // 2] = True
    views = tuple(
        StrongView(torch.rand(unlabelled, 3, *size, generator=draw), boxes_BHW)
        for _ in range(num_strong_views)
    )
    weak_BCHW = torch.rand(unlabelled, 3, *size, generator=draw)
    index_B = torch.arange(seed, seed + unlabelled) % 6
    return Batch(images_BCHW, masks_BHW, Unlabelled(index_B, weak_BCHW, valid_BHW, views))
