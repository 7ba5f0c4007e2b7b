"""Switching a network's noise."""

from __future__ import annotations

import copy

import torch

from pipeline.methods.shared.dropout_switch import steady, steady_decode, with_dropout
from tests.support.tiny_network import tiny_network


def test_steady_passes_are_alike_and_leave_no_trace() -> None:
    network = tiny_network()
    features = network.encode(torch.rand(2, 3, 32, 32))
    before = copy.deepcopy(network.state_dict())
    decode = steady_decode(network)
    assert torch.equal(decode(features), decode(features))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert not torch.equal(network.decode(features), network.decode(features))
    assert not torch.equal(
        network.decoder.body[1].running_mean, before["decoder.body.1.running_mean"]
    )


def test_a_steady_network_in_training_normalises_by_the_batch_and_in_eval_by_its_statistics() -> (
    None
):
    network = tiny_network()
    network.decoder.body[3].p = 0.0
    images = torch.rand(2, 3, 32, 32)
    with steady(network):
        assert torch.equal(network(images), copy.deepcopy(network)(images))
    network.eval()
    expected = network(images)
    with steady(network):
        assert torch.equal(network(images), expected)
    assert not any(module.training for module in network.modules())


def test_dropout_drops_in_eval_mode_and_batch_norm_stays() -> None:
    network = tiny_network().eval()
    images = torch.rand(2, 3, 32, 32)
    before = copy.deepcopy(network.state_dict())
    with with_dropout(network):
        assert not torch.equal(network(images), network(images))
    assert torch.equal(network(images), network(images))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())
