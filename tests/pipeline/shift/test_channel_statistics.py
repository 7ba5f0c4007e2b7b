"""Layers that see another light say so; the network is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.shift.channel_statistics import LayerMoments, layer_distances, watching
from tests.support.tiny_network import tiny_network


def images(seed: int, brighter: float = 0.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3, 32, 32, generator=draw) + brighter


def seen(network: nn.Module, *batches: Tensor) -> dict[str, LayerMoments]:
    with watching(network) as watch, torch.inference_mode():
        for images_BCHW in batches:
            network(images_BCHW)
    return watch.moments()


def test_every_batch_norm_is_watched_and_the_brighter_domain_is_further_off() -> None:
    network = tiny_network().eval()
    one, same, bright = (seen(network, images(s, b)) for s, b in ((0, 0), (1, 0), (2, 3.0)))
    assert list(one) == ["encoder.first.1", "encoder.second.1", "decoder.body.1"]
    near, far = (layer_distances(one, other, np.arange(6)) for other in (same, bright))
    assert near[0]["distance"] < 0.05 < far[0]["distance"]
    assert near[0]["within"] == far[0]["within"] < 0.1
    assert not network.encoder.first[1]._forward_pre_hooks


def test_without_batch_norm_it_is_the_encoders_maps() -> None:
    class Encoder(nn.Module):
        def forward(self, images_BCHW: Tensor) -> list[Tensor]:
            return [images_BCHW, 2 * images_BCHW]

    found = seen(Encoder(), images(0), images(1))
    assert list(found) == ["feature map 1"]
    assert found["feature map 1"].mean_NC.shape == (12, 3)


def test_the_distance_is_the_closed_form() -> None:
    one = {"x": LayerMoments(torch.tensor([[0.0]]), torch.tensor([[1.0]]))}
    other = {"x": LayerMoments(torch.tensor([[2.0]]), torch.tensor([[8.0]]))}  # variance 4
    (row,) = layer_distances(one, other, np.zeros(1, dtype=np.int64))
    assert row["distance"] == pytest.approx(((1 + 4) / 4 + (4 + 4) / 1 - 2) / 4, rel=1e-3)
    assert row["within"] is None
