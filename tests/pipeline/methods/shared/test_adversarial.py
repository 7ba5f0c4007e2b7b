"""Adversarial methods against the papers' formulas in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods import Batch
from pipeline.methods.adv_semi_seg import AdvSemiSeg, PixelDiscriminator
from pipeline.methods.s4gan import S4GAN, ImageDiscriminator, distance_of_means, stretched
from pipeline.methods.shared.adversarial import frozen, judged, one_hot
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, new_batch, tiny_setup

NUM_LABELLED, NUM_UNLABELLED = 2, 3
CHANNELS = {"discriminator_channels": 4}


def new_method(method_type, **knobs):
    options = {**CHANNELS, **knobs.pop("options", {})}
    setup = tiny_setup(
        MethodParams(name="it", rampup_share=0.0, options=options, **knobs), NUM_CLASSES
    )
    method = method_type(setup)
    for p in method.discriminator.parameters():
        p.data *= 3  # opinions
    for module in method.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0  # two forwards are alike
    return method


def batch_with_holes() -> Batch:
    batch = new_batch(1, labelled=NUM_LABELLED, unlabelled=NUM_UNLABELLED)
    batch.masks_BHW[0, 5:20, 5:20] = IGNORE
    return batch


def bce(logits: Tensor, real: bool, counted: Tensor) -> float:
    """-log of the sigmoid, or of 1 - it, pixel by pixel."""
    losses = [
        -math.log(p if real else 1 - p)
        for p, there in zip(
            logits.sigmoid().flatten().tolist(), counted.flatten().tolist(), strict=True
        )
        if there
    ]
    return sum(losses) / len(losses)


def test_judged_by_hand() -> None:
    logits, counted = torch.tensor([0.0, math.log(3), 5.0]), torch.tensor([True, True, False])
    # Sigmoids 1/2 and 3/4.
    assert judged(logits, True, counted).item() == pytest.approx(-math.log(3 / 8) / 2)
    assert judged(logits, False, counted).item() == pytest.approx(-math.log(1 / 8) / 2)
    assert judged(logits, True, counted & False).item() == 0.0


def test_a_frozen_module_passes_gradients_and_takes_none() -> None:
    module, inputs = nn.Linear(3, 1), torch.rand(2, 3, requires_grad=True)
    frozen(module, inputs).sum().backward()
    assert inputs.grad.any()
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert torch.equal(frozen(module, inputs), module(inputs))


def test_an_ignored_pixel_is_of_no_class() -> None:
    maps = one_hot(torch.tensor([[[2, IGNORE, 0]]]), 3)
    assert maps[0, :, 0].T.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (96, 128)])
def test_discriminators_take_small_and_oblong_images(size: tuple[int, int]) -> None:
    maps = torch.rand(1, NUM_CLASSES, *size)
    assert PixelDiscriminator(NUM_CLASSES, 64)(maps).shape == (1, *size)
    image = torch.rand(1, 3, *size)
    assert ImageDiscriminator(NUM_CLASSES, 64)(torch.cat([maps, image], 1)).shape == (1, 513)


def test_s4gan_drops_nothing_of_the_features_that_are_matched() -> None:
    layers = list(ImageDiscriminator(NUM_CLASSES, 4).layers)
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == [*["Conv2d", "LeakyReLU", "Dropout2d"] * 3, "Conv2d", "LeakyReLU"]
    assert all(layer.p == 0.5 for layer in layers if isinstance(layer, nn.Dropout2d))


def test_an_image_is_stretched_by_its_own_values() -> None:
    images_BCHW = torch.stack(
        [torch.rand(3, 4, 4), 5 + 10 * torch.rand(3, 4, 4), torch.ones(3, 4, 4)]
    )
    found = stretched(images_BCHW)
    for image, own in zip(found[:2], images_BCHW[:2], strict=True):
        assert image.min() == 0
        assert image.max() == 1
        torch.testing.assert_close(image, (own - own.min()) / (own.max() - own.min()))
    assert not found[2].any()


def test_distance_of_means_by_hand() -> None:
    one, other = torch.tensor([[1.0, 2.0], [3.0, 2.0], [9.0, 9.0]]), torch.tensor([[0.0, 4.0]])
    counted, yes, no = (
        torch.tensor([True, True, False]),
        torch.tensor([True]),
        torch.tensor([False]),
    )
    assert distance_of_means(one, counted, other, yes).item() == 2.0  # (|2 - 0| + |2 - 4|) / 2
    assert distance_of_means(one, counted, other, no).item() == 0.0


def adv_semi_seg_difference(step: int) -> float:
    """Of the three terms."""
    method, batch = new_method(AdvSemiSeg), batch_with_holes()
    judge = method.discriminator
    known, valid = batch.masks_BHW != IGNORE, batch.unlabelled.valid_BHW
    labelled = method.student(batch.images_BCHW).softmax(1) * known[:, None]
    probs = method.student(batch.unlabelled.weak_BCHW).softmax(1)
    own = judge(probs * valid[:, None])
    trust = own.sigmoid()[valid].median().item()  # about half is believed
    found = new_method(AdvSemiSeg, options={"trust_threshold": trust})(batch, step)
    fooled = 0.01 * bce(judge(labelled), True, known) + 0.001 * bce(own, True, valid)
    masks = torch.zeros_like(labelled)
    for b, y, x in known.nonzero().tolist():
        masks[b, batch.masks_BHW[b, y, x], y, x] = 1
    apart = (bce(judge(labelled), False, known) + bce(judge(masks), True, known)) / 2
    believed = valid & (own.sigmoid() > trust)
    assert 0 < believed.sum() < valid.sum()
    started = step >= 0.25 * 10
    total = -probs.amax(1).log()[believed].sum().item() * started
    taught = 0.1 * total / valid.sum().item()
    expected = {"adversarial": fooled, "discriminator": apart, "self_training": taught}
    return max(largest(found.terms[name], value) for name, value in expected.items())


@pytest.mark.parametrize("step", [2, 3])
def test_adv_semi_seg_is_the_papers_formula(step: int) -> None:
    assert adv_semi_seg_difference(step) < 1e-5


def s4gan_difference() -> float:
    """Of the three terms."""
    method, batch = new_method(S4GAN), batch_with_holes()
    weak, valid = batch.unlabelled.weak_BCHW, batch.unlabelled.valid_BHW
    known, judge = batch.masks_BHW != IGNORE, method.discriminator
    probs = method.student(weak).softmax(1)
    holes = torch.stack([valid[b] & known[b % NUM_LABELLED] for b in range(NUM_UNLABELLED)])
    fake = judge(torch.cat([probs * holes[:, None], stretched(weak)], 1))
    masks = one_hot(batch.masks_BHW, NUM_CLASSES)
    real = judge(torch.cat([masks, stretched(batch.images_BCHW)], 1))
    gamma = fake[:, -1].sigmoid().sort().values[1].item()  # the third image alone is believed
    method = new_method(S4GAN, options={"trust_threshold": gamma})
    found = method(batch, 0).terms
    distances = [
        abs(sum(fake[:, d].tolist()) / NUM_UNLABELLED - sum(real[:, d].tolist()) / NUM_LABELLED)
        for d in range(fake.shape[1] - 1)
    ]
    matching = 0.1 * sum(distances) / len(distances)
    everything = torch.tensor(True)
    apart = bce(fake[:, -1], False, everything.expand(NUM_UNLABELLED))
    apart += bce(real[:, -1], True, everything.expand(NUM_LABELLED))
    best = int(fake[:, -1].argmax())
    total = -probs[best].amax(0).log()[valid[best]].sum().item()
    taught = total / valid.sum().item()
    expected = {"matching": matching, "discriminator": apart / 2, "self_training": taught}
    return max(largest(found[name], value) for name, value in expected.items())


def test_s4gan_is_the_papers_formula() -> None:
    assert s4gan_difference() < 1e-5


@pytest.mark.parametrize("method_type", [AdvSemiSeg, S4GAN])
def test_it_does_not_care_which_class_is_which(method_type) -> None:
    order = torch.tensor([2, 0, 3, 1])
    batch = batch_with_holes()
    expected = new_method(method_type)(batch, 5).terms
    method = new_method(method_type)
    for p in method.student.head.parameters():
        p.data = p.data[order]
    first = method.discriminator.layers[0]
    first.weight.data[:, :NUM_CLASSES] = first.weight.data[:, order]
    known = batch.masks_BHW != IGNORE
    renamed = order.argsort()[batch.masks_BHW.where(known, 0)].where(known, IGNORE)
    found = method(batch._replace(masks_BHW=renamed), 5).terms
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("method_type", [AdvSemiSeg, S4GAN])
def test_each_side_learns_from_its_own_terms_alone(method_type) -> None:
    method = new_method(method_type)
    terms = method(batch_with_holes(), 5).terms
    terms.pop("discriminator").backward()
    assert all(p.grad is None for p in method.student.parameters())
    assert any(p.grad.any() for p in method.discriminator.parameters())
    method = new_method(method_type)
    terms = method(batch_with_holes(), 5).terms
    del terms["discriminator"]
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None for p in method.discriminator.parameters())
    assert any(p.grad.any() for p in method.student.parameters())


@pytest.mark.parametrize("method_type", [AdvSemiSeg, S4GAN])
def test_lambda_weighs_all_terms_but_the_discriminators(method_type) -> None:
    one, two = (
        new_method(method_type, consistency_weight=weight)(batch_with_holes(), 5).terms
        for weight in (1.0, 2.0)
    )
    for name in one:
        ratio = 1.0 if name in ("supervised", "discriminator") else 2.0
        torch.testing.assert_close(two[name], ratio * one[name])


@pytest.mark.parametrize("method_type", [AdvSemiSeg, S4GAN])
def test_the_discriminator_has_a_rate_of_its_own(method_type) -> None:
    method = new_method(method_type, options={"discriminator_learning_rate": 0.02})
    assert method.learning_rates == {"discriminator": 0.02}
    assert any(name.startswith("discriminator.") for name, _ in method.named_parameters())


@pytest.mark.parametrize(
    "knobs",
    [
        {"mixes": ["cutmix"]},
        {"feature_perturbations": ["dropout"]},
    ],
)
def test_what_it_cannot_do_is_refused(knobs: dict) -> None:
    (key,) = knobs
    with pytest.raises(ConfigError, match=f"method.{key}: it perturbs nothing"):
        new_method(S4GAN, **knobs)
