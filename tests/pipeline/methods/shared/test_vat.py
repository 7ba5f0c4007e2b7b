"""The adversarial step: its norm, its direction, and that it does harm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.methods.shared import vat
from pipeline.methods.shared.dropout_switch import steady_decode
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from tests.support.tiny_network import tiny_network


def divergences(network, features: list[Tensor], moved: list[Tensor]) -> Tensor:
    """KL(p(features) || p(moved)) of each image, summed over pixels."""
    decode = steady_decode(network)
    with torch.no_grad():
        log_p, log_q = (decode(maps).log_softmax(1) for maps in (features, moved))
    return (log_p.exp() * (log_p - log_q)).sum(dim=(1, 2, 3))


def norms(one: list[Tensor], two: list[Tensor]) -> Tensor:
    squares = [(a - b).square().flatten(1).sum(1) for a, b in zip(one[1:], two[1:], strict=True)]
    return torch.stack(squares).sum(0).sqrt()


def trained_a_little():
    network = tiny_network()
    with torch.no_grad():
        network.head.weight.mul_(5)
    return network


def test_the_step_has_its_norm_and_harms_more_than_random_ones_of_the_same() -> None:
    network = trained_a_little()
    features = [z.detach() for z in network.encode(torch.rand(3, 3, 32, 32))]
    scene = Scene(torch.rand(3, 4, 32, 32), steady_decode(network))
    moved = FEATURE_PERTURBATIONS["vat"](features, scene)
    assert norms(moved, features).tolist() == pytest.approx([2.0] * 3, rel=1e-4)
    harm_B = divergences(network, features, moved)
    for _ in range(20):
        steps = [torch.randn_like(z) for z in features[1:]]
        length_B = torch.stack([r.square().flatten(1).sum(1) for r in steps]).sum(0).sqrt()
        steps = [2.0 * r / length_B[:, None, None, None] for r in steps]
        random = [features[0], *(z + r for z, r in zip(features[1:], steps, strict=True))]
        assert norms(random, features).tolist() == pytest.approx([2.0] * 3, rel=1e-4)
        assert (harm_B > 3 * divergences(network, features, random)).all()


def test_it_is_one_power_iteration_with_the_hessian_of_kl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vat, "PROBE_NORM", 0.01)  # small enough for the quadratic part alone
    torch.manual_seed(0)
    weight_KD = torch.randn(3, 2)
    z_BDhw = torch.randn(1, 2, 2, 2)

    def decode(features: list[Tensor]) -> Tensor:
        return torch.einsum("kd,bdhw->bkhw", weight_KD, features[1])

    torch.manual_seed(1)
    (step,) = vat.adversarial_step([torch.zeros(1, 3, 2, 2), z_BDhw], decode, norm=2.0)
    torch.manual_seed(1)
    d = torch.randn_like(z_BDhw)
    expected = torch.zeros_like(z_BDhw)
    for y in range(2):
        for x in range(2):
            p = decode([z_BDhw, z_BDhw])[0, :, y, x].softmax(0)
            for i in range(2):
                for j in range(2):
                    for k in range(3):
                        for m in range(3):
                            fisher = float(p[k]) * (float(k == m) - float(p[m]))
                            expected[0, i, y, x] += (
                                weight_KD[k, i] * fisher * weight_KD[m, j] * d[0, j, y, x]
                            )
    expected *= 2.0 / expected.norm()
    assert torch.allclose(step, expected, atol=0.02)


def test_the_order_of_classes_does_not_matter() -> None:
    network = trained_a_little()
    features = [z.detach() for z in network.encode(torch.rand(2, 3, 32, 32))]
    decode = steady_decode(network)
    steps = []
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        torch.manual_seed(0)
        steps.append(vat.adversarial_step(features, lambda z, o=order: decode(z)[:, o], 2.0))
    for one, two in zip(*steps, strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def test_where_nothing_matters_nothing_moves() -> None:
    features = [torch.rand(2, 3, 4, 4), torch.rand(2, 5, 4, 4)]
    (step,) = vat.adversarial_step(features, lambda maps: 0.0 * maps[1], norm=2.0)
    assert not step.any()


def test_nobody_learns_from_it() -> None:
    network = trained_a_little()
    features = network.encode(torch.rand(2, 3, 32, 32))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    vat.adversarial_step(features, steady_decode(network), 2.0)
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
