"""Statistics against the papers' formulas, written naively."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.training.domain_adaptation.batch_norm import (
    Moments,
    adapt_batch_norm,
    carried_over,
    has_batch_norm,
    mixed,
    moments,
)


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )


def images(seed: int, count: int = 6, shift: float = 0.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 16, 16, generator=draw) * (1 + shift) + shift


def with_own_statistics(network: nn.Module, source_BCHW: Tensor) -> nn.Module:
    """As after a long training on these very images."""
    network.eval()
    for layer in (network[1], network[4]):
        layer.momentum = None
        layer.train()
        network(source_BCHW)
        layer.eval()
        # torch keeps the corrected variance, a batch norm in training divides by the other
        count = source_BCHW.shape[0] * (14 * 14 if layer is network[1] else 12 * 12)
        layer.running_var *= (count - 1) / count
    return network.eval()


def normalised(features_BCHW: Tensor, mean_C: Tensor, variance_C: Tensor, layer) -> Tensor:
    view = (1, -1, 1, 1)
    scaled = (features_BCHW - mean_C.view(view)) / (variance_C.view(view) + layer.eps).sqrt()
    return scaled * layer.weight.view(view) + layer.bias.view(view)


@pytest.mark.parametrize("prior", [0.0, 16.0])
@torch.no_grad()
def test_it_is_schneiders_mixture_layer_after_layer(prior: float) -> None:
    """mu = (N mu_s + n mu_t) / (N + n), and so for the variance; AdaBN with N = 0."""
    source_BCHW, target_BCHW = images(1), images(2, count=4, shift=0.7)
    network = with_own_statistics(two_layers(), source_BCHW)
    before = copy.deepcopy(network)
    adapt_batch_norm(network, source_BCHW, target_BCHW, prior=prior)
    n, seen = len(target_BCHW), target_BCHW
    for at in (0, 3):
        features = before[at](seen if at == 0 else seen.relu())
        layer, own = network[at + 1], before[at + 1]
        mean_C = (prior * own.running_mean + n * features.mean(dim=(0, 2, 3))) / (prior + n)
        variance_C = features.var(dim=(0, 2, 3), correction=0)
        variance_C = (prior * own.running_var + n * variance_C) / (prior + n)
        torch.testing.assert_close(layer.running_mean, mean_C, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(layer.running_var, variance_C, atol=1e-4, rtol=1e-4)
        seen = normalised(features, mean_C, variance_C, own)
    torch.testing.assert_close(network(target_BCHW), seen, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_sources_own_images_change_nothing_even_where_statistics_were_frozen() -> None:
    network = two_layers().eval()  # statistics 0 and 1, which no image has
    before = network(images(1))
    adapt_batch_norm(network, images(1), images(1), prior=0.0)
    torch.testing.assert_close(network(images(1)), before, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_with_frozen_statistics_the_target_looks_as_the_source_did() -> None:
    network = two_layers().eval()
    source_BCHW = images(1)
    expected = moments(network[:2](source_BCHW))
    adapt_batch_norm(network, source_BCHW, images(2, shift=0.7), prior=0.0)
    found = moments(network[:2](images(2, shift=0.7)))
    torch.testing.assert_close(found.mean_C, expected.mean_C, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.variance_C, expected.variance_C, atol=1e-3, rtol=1e-3)


def test_the_larger_the_prior_the_less_changes() -> None:
    source, target = Moments(*torch.tensor([[0.0], [1.0]])), Moments(*torch.tensor([[8.0], [3.0]]))
    means = [float(mixed(source, target, prior=prior, count=16).mean_C) for prior in (0, 16, 1e9)]
    assert means == pytest.approx([8.0, 4.0, 0.0], abs=1e-4)


def test_a_silent_channel_keeps_its_scale() -> None:
    own = Moments(torch.zeros(2), torch.ones(2))
    silent = Moments(torch.zeros(2), torch.tensor([0.0, 2.0]))
    loud = Moments(torch.ones(2), torch.tensor([5.0, 8.0]))
    found = carried_over(own, silent, loud)
    assert found.variance_C.tolist() == [1.0, 4.0]
    assert found.mean_C.isfinite().all()


def test_a_network_without_batch_norm_says_so() -> None:
    assert has_batch_norm(two_layers())
    assert not has_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)))
