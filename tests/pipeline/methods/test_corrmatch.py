"""CorrMatch's correlation, regions, threshold and losses in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.fidelity import plain_networks as plain
from pipeline.methods.corrmatch import Correlation, CorrMatch, regions_of, spread_labels
from pipeline.methods.shared.losses import cross_entropy
from tests.pipeline.methods.test_unimatch import Network, mixed, new_setup
from tests.support.tiny_network import NUM_CLASSES, new_batch

SIZE = (8, 8)


def new_method(**options) -> CorrMatch:
    method = CorrMatch(new_setup(0.95, options={"dimensions": 6, "num_regions": 20, **options}))
    for layer in (method.correlation.first, method.correlation.second):
        layer.weight.data *= 8  # places told apart
    return method


def test_logits_are_told_along_the_correlation_of_features() -> None:
    """softmax over j of f_1(i) . f_2(j) / sqrt(K); what j is told is sum_i logits_i Corr_ij."""
    torch.manual_seed(0)
    correlation = Correlation(3, NUM_CLASSES, 5).eval()
    deepest, logits = torch.randn(1, 3, 2, 3), torch.randn(1, NUM_CLASSES, 2, 3)
    told = correlation(deepest, logits)
    z_DN = correlation.project(deepest)[0].flatten(1)
    first, second = (
        (f.weight[:, :, 0, 0] @ z_DN + f.bias[:, None]).tolist()
        for f in (correlation.first, correlation.second)
    )
    expected = plain.told(logits[0].flatten(1).tolist(), first, second)
    assert told.size == (2, 3)
    torch.testing.assert_close(told.correlation_BNN.sum(-1), torch.ones(1, 6))
    torch.testing.assert_close(told.logits_BKHW[0].flatten(1), torch.tensor(expected))


def test_the_features_learn_and_the_logits_do_not() -> None:
    correlation = Correlation(3, NUM_CLASSES, 5)
    deepest = torch.randn(2, 3, 4, 4, requires_grad=True)
    logits = torch.randn(2, NUM_CLASSES, 16, 16, requires_grad=True)
    told = correlation(deepest, logits)
    assert told.logits_BKHW.shape == logits.shape
    told.logits_BKHW.square().sum().backward()
    assert deepest.grad is not None
    assert deepest.grad.any()
    assert logits.grad is None


def test_a_large_map_is_pooled_before_all_pairs_are_made() -> None:
    told = Correlation(3, NUM_CLASSES, 2)(torch.randn(2, 3, 66, 64), torch.zeros(2, 4, 66, 64))
    assert told.size == (33, 32)


def test_regions_take_the_class_of_their_reliable_pixels_one_after_another() -> None:
    torch.manual_seed(1)  # 4 of 20 regions are sure enough and of one class
    pseudo = torch.where(torch.rand(6, 7) < 0.3, 1, 0)
    reliable = torch.rand(6, 7) < 0.9
    own = torch.rand(6, 7) < 0.9
    rows = torch.rand(20, 3, 4)
    regions = regions_of(rows, (6, 7))
    assert regions.tolist() == plain.regions(rows.tolist(), (6, 7))
    labels, sure = spread_labels(regions & own, pseudo, reliable, 0.8)
    before = plain.Spread(pseudo.tolist(), reliable.tolist())
    expected = plain.spread(regions.tolist(), before, own.tolist(), 0.8)
    assert (labels.tolist(), sure.tolist()) == expected
    assert (labels != pseudo).any()
    assert (sure & ~reliable).any()


def test_a_constant_row_has_no_region() -> None:
    assert not regions_of(torch.ones(2, 3, 3), (6, 6)).any()


def test_tau_follows_the_surest_pixel_of_every_class() -> None:
    method = new_method(threshold_decay=0.9)
    confidence = torch.tensor([[[0.5, 0.7, 0.9, 0.99]]])
    pseudo, valid = torch.tensor([[[0, 0, 2, 2]]]), torch.tensor([[[True, True, True, False]]])
    method.follow(confidence, pseudo, valid)
    assert float(method.threshold) == pytest.approx(0.9 * 0.85 + 0.1 * (0.7 + 0.9) / 2)
    before = float(method.threshold)
    method.follow(confidence, pseudo, torch.zeros_like(valid))
    assert float(method.threshold) == before


def mean_nll(logits: Tensor, labels, reliable, valid: Tensor) -> float:
    """Of reliable and valid pixels, over the number of all valid ones."""
    said, total = logits.log_softmax(1).tolist(), 0.0
    for b, y, x in valid.nonzero().tolist():
        if reliable[b][y][x]:
            total -= said[b][labels[b][y][x]][y][x]
    return total / int(valid.sum())


def mean_divergence(logits: Tensor, target: Tensor, reliable: Tensor, valid: Tensor) -> float:
    """The same of sum p (log p - log q)."""
    said, total = logits.log_softmax(1), 0.0
    for b, y, x in (reliable & valid).nonzero().tolist():
        for p, log in zip(target[b, :, y, x].tolist(), said[b, :, y, x].tolist(), strict=True):
            total += p * (math.log(p) - log)
    return total / int(valid.sum())


def pasted(values: Tensor, boxes_BHW: Tensor) -> Tensor:
    """With the box of the image before."""
    found = values.clone()
    for b, box in enumerate(boxes_BHW):
        found[b, ..., box] = values[b - 1][..., box]
    return found


def compared() -> tuple[dict[str, Tensor], dict[str, float]]:
    """Terms in eval mode, in which nothing but regions and perturbed features is drawn."""
    tau = 0.5
    method, batch = new_method(threshold_start=tau), new_batch(1, size=SIZE)
    method.eval()
    torch.manual_seed(5)
    losses = method(batch, 0)
    _, weak, valid, (view,) = batch.unlabelled
    student = method.student
    seen = [batch.images_BCHW, weak, mixed(view)]
    logits = [student(images).detach() for images in seen]
    told = [method.correlation(student.stem(i), out) for i, out in zip(seen, logits, strict=True)]
    torch.manual_seed(5)
    places = torch.randint(64, (20,))
    perturbed = student.decode([weak, F.dropout2d(student.stem(weak), 0.5, training=True)])
    probs = logits[1].softmax(1)
    pseudo, sure = probs.argmax(1), probs.amax(1) >= tau
    target, valid_m, sure_m, labels_m = (
        pasted(values, view.boxes_BHW) for values in (probs, valid, sure, pseudo)
    )
    spread = [
        plain.spread(
            plain.regions(told[1].correlation_BNN[b, places].view(20, *SIZE).tolist(), SIZE),
            plain.Spread(labels_m[b].tolist(), (sure_m & valid_m)[b].tolist()),
            (valid_m & ~view.boxes_BHW)[b].tolist(),
            tau,
        )
        for b in range(3)
    ]
    strong = ([one.labels for one in spread], [one.reliable for one in spread], valid_m)
    assert torch.tensor(strong[1]).sum() > (sure_m & valid_m).sum(), "regions reach further"
    soft = mean_divergence(logits[2], target, sure_m, valid_m)
    on_labels = cross_entropy(told[0].logits_BKHW, batch.masks_BHW).item()
    on_strong = mean_nll(told[2].logits_BKHW, *strong)
    on_weak = mean_nll(told[1].logits_BKHW, pseudo, sure, valid)
    return losses.terms, {
        "consistency": (mean_nll(logits[2], *strong) + soft) / 2,
        "feature_consistency": mean_nll(perturbed, pseudo, sure, valid) / 2,
        "correlation": on_labels + (on_strong + on_weak) / 4,
    }


def test_the_terms_are_the_authors_formula() -> None:
    terms, expected = compared()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name


def test_without_regions_labels_stay_where_they_were() -> None:
    method, batch = new_method(threshold_start=0.0, regions=False), new_batch(1, size=SIZE)
    assert isinstance(method.student, Network)
    losses = method(batch, 0)
    assert losses.logs["reliable_share"].item() == 1.0
    assert 0 < losses.logs["tau"].item() < 0.01
