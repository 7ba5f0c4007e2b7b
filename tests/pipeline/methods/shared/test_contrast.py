"""What contrastive methods share, by hand and in plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods import MethodSetup
from pipeline.methods.shared import contrast
from pipeline.methods.shared.losses import labelled_loss
from pipeline.methods.u2pl import U2PL
from tests.support.tiny_network import NUM_CLASSES, TinySet, tiny_network


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def nce(anchor: list[float], positive: list[float], negatives: list, temperature: float) -> float:
    """-log of the positive's share, from the papers' formula."""
    own = math.exp(cosine(anchor, positive) / temperature)
    others = sum(math.exp(cosine(anchor, negative) / temperature) for negative in negatives)
    return -math.log(own / (own + others))


def test_info_nce_by_hand() -> None:
    anchors_AD, positive_D = torch.tensor([[2.0, 0.0]]), torch.tensor([5.0, 0.0])
    keys_ND, chosen_AM = torch.tensor([[0.0, 3.0], [-1.0, 0.0]]), torch.tensor([[0, 1]])
    # Cosines 1, 0 and -1, halved by nothing: T = 1.
    expected = -math.log(math.e / (math.e + 1 + 1 / math.e))
    found = contrast.info_nce(anchors_AD, positive_D, keys_ND, chosen_AM, 1.0)
    assert found.item() == pytest.approx(expected)


def test_info_nce_is_the_formula() -> None:
    torch.manual_seed(0)
    anchors_AD, positive_D, keys_ND = torch.randn(5, 6), torch.randn(6), torch.randn(9, 6)
    chosen_AM = torch.randint(9, (5, 4))
    expected = 0.0
    for anchor, chosen in zip(anchors_AD.tolist(), chosen_AM.tolist(), strict=True):
        negatives = [keys_ND[place].tolist() for place in chosen]
        expected += nce(anchor, positive_D.tolist(), negatives, 0.5) / 5
    found = contrast.info_nce(anchors_AD, positive_D, keys_ND, chosen_AM, 0.5)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_does_not_care_how_long_representations_are() -> None:
    torch.manual_seed(0)
    anchors_AD, positive_D, keys_ND = torch.randn(5, 6), torch.randn(6), torch.randn(9, 6)
    chosen_AM = torch.randint(9, (5, 4))
    one = contrast.info_nce(anchors_AD, positive_D, keys_ND, chosen_AM, 0.5)
    other = contrast.info_nce(3 * anchors_AD, 7 * positive_D, 0.1 * keys_ND, chosen_AM, 0.5)
    torch.testing.assert_close(one, other)


def test_the_queue_keeps_the_newest() -> None:
    queue = contrast.KeyQueue(2, 5, 1)
    assert len(queue.get(1)) == 0
    expected: list[float] = []
    number = 0
    for count in (2, 2, 4, 0, 12, 1):
        keys = [float(number + i) for i in range(count)]
        number += count
        queue.add(1, torch.tensor(keys)[:, None])
        expected = (expected + keys)[-5:]
        assert sorted(queue.get(1).flatten().tolist()) == expected
    assert len(queue.get(0)) == 0


def test_the_queue_is_in_the_state() -> None:
    queue, other = contrast.KeyQueue(2, 5, 1), contrast.KeyQueue(2, 5, 1)
    queue.add(0, torch.rand(3, 1))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.add(0, torch.full((4, 1), 2.0))
    assert torch.equal(queue.get(0), other.get(0))


def test_draws_are_among_the_true() -> None:
    where_N = torch.tensor([False, True, False, True, True])
    assert set(contrast.draw(where_N, 200).tolist()) == {1, 3, 4}


def test_shrunk_takes_the_nearest_pixels() -> None:
    masks_BHW = torch.arange(32).view(1, 4, 8)
    small = contrast.shrunk(masks_BHW, torch.zeros(1, 2, 2, 4))
    assert small.tolist() == [[[9, 11, 13, 15], [25, 27, 29, 31]]]
    assert torch.equal(contrast.shrunk(masks_BHW, torch.zeros(1, 2, 4, 8)), masks_BHW)


def test_a_row_is_one_pixel_after_the_other() -> None:
    values_BDhw = torch.rand(2, 3, 4, 5)
    row_ND = contrast.in_a_row(values_BDhw)
    assert torch.equal(row_ND[1 * 20 + 2 * 5 + 3], values_BDhw[1, :, 2, 3])


def test_a_percentile_of_many_is_nearly_right() -> None:
    values_N = torch.linspace(0, 1, 3 * contrast.MAX_PERCENTILE_VALUES)
    assert contrast.percentile(values_N, 0.3).item() == pytest.approx(0.3, abs=1e-3)
    assert contrast.percentile(torch.tensor([1.0, 2.0, 3.0]), 0.5).item() == 2.0
    assert contrast.percentile(torch.zeros(0), 0.5).item() == 0.0


def test_counting_channels_changes_nothing() -> None:
    network = tiny_network()
    network.decoder.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    assert contrast.num_channels(network) == 8
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[k], value) for k, value in network.state_dict().items())
    assert network.encoder.training
    assert not network.decoder.training


def new_setup(**knobs) -> MethodSetup:
    return MethodSetup(
        params=MethodParams(name="u2pl", **knobs),
        num_classes=NUM_CLASSES,
        num_steps=10,
        new_network=tiny_network,
        labelled_loss=labelled_loss,
        unlabelled=TinySet(),
    )


def test_representations_are_at_a_quarter_of_the_size() -> None:
    method = U2PL(new_setup())
    seen = contrast.see(method.student, method.projection, torch.rand(2, 3, 64, 32))
    assert seen.logits_BKHW.shape == (2, NUM_CLASSES, 64, 32)
    assert seen.representation_BDhw.shape == (2, 256, 16, 8)


@pytest.mark.parametrize(
    ("knobs", "key"),
    [
        ({"feature_perturbations": ["dropout"]}, "feature_perturbations"),
    ],
)
def test_what_it_cannot_do_is_refused(knobs: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=f"method.{key}: u2pl"):
        U2PL(new_setup(**knobs))
