"""CCT's loss against the paper's formula, and who learns from it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods.cct import CCT
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS
from tests.support.tiny_network import NUM_CLASSES, new_batch, tiny_network, tiny_setup

NONE = dict.fromkeys(FEATURE_PERTURBATIONS, 0)


def new_method(**knobs) -> CCT:
    setup = tiny_setup(
        MethodParams(name="cct", consistency_weight=3.0, rampup_share=0.0, **knobs),
        NUM_CLASSES,
        new_network=tiny_network,
    )
    method = CCT(setup)
    method.train()
    return method


def loss_difference() -> float:
    """With perturbations that are numbers: the deepest map doubled, or turned round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FEATURE_PERTURBATIONS, "dropout", lambda z, _: [z[0], 2 * z[1]])
        patch.setitem(FEATURE_PERTURBATIONS, "vat", lambda z, _: [z[0], -z[1]])
        return _loss_difference()


def _loss_difference() -> float:
    method = new_method(options={**NONE, "dropout": 2, "vat": 1})
    method.student.eval()  # its batch norms and dropout would hide the formula
    batch = new_batch(1)
    assert batch.unlabelled is not None
    _, weak, valid_BHW, _ = batch.unlabelled
    features = method.student.encode(weak)
    main = method.student.decode(features).softmax(1)
    assert Counter(method.kinds) == {"dropout": 2, "vat": 1}
    total = 0.0
    for kind, head in zip(method.kinds, method.auxiliary, strict=True):
        logits = head(features[-1] * {"dropout": 2, "vat": -1}[kind])
        probs = F.interpolate(logits, weak.shape[-2:], mode="bilinear").softmax(1)
        squares = [
            (probs[b, k, y, x] - main[b, k, y, x]).item() ** 2
            for b, y, x in valid_BHW.nonzero().tolist()
            for k in range(NUM_CLASSES)
        ]
        total += sum(squares) / len(squares)
    return largest(method(batch, 0).terms["consistency"], 3.0 * total / 3)


def test_it_is_the_mean_over_decoders_of_squared_differences_to_the_main_one() -> None:
    assert loss_difference() < 1e-5


def test_encoder_and_auxiliary_decoders_learn_and_the_main_decoder_does_not() -> None:
    method = new_method()
    before = {key: value.clone() for key, value in method.student.decoder.state_dict().items()}
    batch = new_batch(1)
    assert batch.unlabelled is not None
    method.unsupervised(batch, batch.unlabelled, 3).terms["consistency"].backward()
    assert all(p.grad is not None and p.grad.any() for p in method.student.encoder.parameters())
    assert all(p.grad is not None and p.grad.any() for p in method.auxiliary.parameters())
    parts = (method.student.decoder, method.student.head)
    assert all(p.grad is None for part in parts for p in part.parameters())
    after = method.student.decoder.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())


def test_all_seven_perturbations_by_default_and_as_many_as_asked() -> None:
    counts = Counter(new_method().kinds)
    assert set(counts) == set(FEATURE_PERTURBATIONS)
    assert sum(counts.values()) == 11
    paper = dict.fromkeys(("dropout", "feature_drop", "feature_noise", "guided_cutout"), 6)
    paper |= dict.fromkeys(("context_mask", "object_mask", "vat"), 2)
    assert Counter(new_method(options=paper).kinds) == paper
    assert set(new_method(feature_perturbations=["vat", "dropout"]).kinds) == {"vat", "dropout"}


def test_auxiliary_decoders_start_differently() -> None:
    first, second, *_ = new_method().auxiliary
    assert not torch.equal(first.weight, second.weight)


def test_the_order_of_classes_does_not_matter() -> None:
    method = new_method(options={**NONE, "feature_noise": 2, "feature_drop": 1, "vat": 1})
    batch = new_batch(1)
    torch.manual_seed(0)
    before = method(batch, 3).terms["consistency"].item()
    with torch.no_grad():
        for layer in (method.student.head, *method.auxiliary):
            layer.weight.copy_(layer.weight[[2, 0, 3, 1]].clone())
            layer.bias.copy_(layer.bias[[2, 0, 3, 1]].clone())
    torch.manual_seed(0)
    assert method(batch, 3).terms["consistency"].item() == pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"mixes": ["cutmix"]}, "method.mixes"),
        ({"options": NONE}, "no auxiliary decoder"),
        ({"feature_perturbations": []}, "no auxiliary decoder"),
    ],
)
def test_what_it_has_no_place_for_is_refused(knobs: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        new_method(**knobs)
