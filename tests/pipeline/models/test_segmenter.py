"""How a gradient comes to the layers: laid out as what they gave."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.models.segmenter import Segmenter

LAYOUTS = (torch.channels_last, torch.contiguous_format)


def network(layout: torch.memory_format) -> Segmenter:
    """Logits at a quarter of the side, made larger by the head's resizing."""
    torch.manual_seed(0)

    class Encoder(nn.Module):
        def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
            return [images_BCHW, F.avg_pool2d(images_BCHW, 4)]

    class Decoder(nn.Module):
        def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
            return features[1]

    whole = Segmenter(encoder=Encoder(), decoder=Decoder(), head=nn.Conv2d(3, 5, 3, padding=1))
    return whole.to(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_losss_gradient_is_laid_out_as_the_logits(layout: torch.memory_format) -> None:
    images_BCHW = torch.randn(2, 3, 32, 64).contiguous(memory_format=layout)
    logits_BKHW = network(layout)(images_BCHW)
    found: list[torch.Tensor] = []
    logits_BKHW.register_hook(found.append)
    F.cross_entropy(logits_BKHW, torch.randint(0, 5, (2, 32, 64))).backward()
    assert found[0].stride() == logits_BKHW.stride()


def test_the_gradient_is_the_one_of_the_other_layout() -> None:
    images_BCHW, masks_BHW = torch.randn(2, 3, 32, 64), torch.randint(0, 5, (2, 32, 64))
    gradients = []
    for layout in LAYOUTS:
        whole = network(layout)
        logits_BKHW = whole(images_BCHW.contiguous(memory_format=layout))
        F.cross_entropy(logits_BKHW, masks_BHW).backward()
        gradients.append(whole.head.weight.grad)
    torch.testing.assert_close(*gradients)


def test_without_gradient_nothing_is_hooked() -> None:
    with torch.no_grad():
        assert not network(torch.channels_last)(torch.randn(1, 3, 32, 32)).requires_grad
