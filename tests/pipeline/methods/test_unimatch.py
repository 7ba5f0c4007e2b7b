"""UniMatch's losses against the papers' formulas in plain loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods import Batch, MethodSetup, StrongView
from pipeline.methods.shared.losses import labelled_loss
from pipeline.methods.unimatch_v1 import UniMatchV1
from pipeline.methods.unimatch_v2 import UniMatchV2, complementary_dropout
from tests.support.tiny_network import NUM_CLASSES, PixelNetwork, TinySet, new_batch

SIZE = (8, 8)
BATCH = 3


class Network(PixelNetwork):
    """A PixelNetwork whose features are channels enough to drop."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.stem = torch.nn.Conv2d(3, 6, 1)
        self.head = torch.nn.Conv2d(6, NUM_CLASSES, 3, padding=1)
        self.stem.weight.data *= 5  # sure of some pixels, in the midst of the image too

    def encode(self, images_BCHW: Tensor) -> list[Tensor]:
        return [images_BCHW, self.stem(images_BCHW)]


def new_setup(threshold: float, **knobs) -> MethodSetup:
    return MethodSetup(
        params=MethodParams(confidence_threshold=threshold, rampup_share=0.0, **knobs),
        num_classes=NUM_CLASSES,
        num_steps=10,
        new_network=lambda number: Network(number),
        labelled_loss=labelled_loss,
        unlabelled=TinySet(),
    )


def batch_with_two_boxes() -> Batch:
    """The two views are cut differently."""
    batch = new_batch(2, size=SIZE)
    assert batch.unlabelled is not None
    first, second = batch.unlabelled.strong
    other = StrongView(second.images_BCHW, second.boxes_BHW.roll(3, 1))
    return batch._replace(unlabelled=batch.unlabelled._replace(strong=(first, other)))


def view_loss(view: StrongView, valid_BHW: Tensor, target: Tensor, logits: Tensor, tau: float):
    """(sum of CE over reliable pixels) / (valid pixels), pixel by pixel; target unmixed."""
    target_BKHW, probs_BKHW = target.softmax(1).tolist(), logits.softmax(1).tolist()
    total, kept, num_valid = 0.0, 0, 0
    for b in range(BATCH):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                source = (b - 1) % BATCH if view.boxes_BHW[b, y, x] else b
                if not valid_BHW[source, y, x]:
                    continue
                num_valid += 1
                target_K = [target_BKHW[source][k][y][x] for k in range(NUM_CLASSES)]
                if max(target_K) >= tau:
                    kept += 1
                    total -= math.log(probs_BKHW[b][target_K.index(max(target_K))][y][x])
    assert 0 < kept < num_valid
    return total / num_valid


def mixed(view: StrongView) -> Tensor:
    images = view.images_BCHW.clone()
    for b in range(BATCH):
        images[b, :, view.boxes_BHW[b]] = view.images_BCHW[b - 1][:, view.boxes_BHW[b]]
    return images


def v2_difference() -> float:
    """Of the loss, with the channels dropped that the method drops."""
    tau = 0.6
    method = UniMatchV2(new_setup(tau))
    with torch.no_grad():  # a teacher unlike the student
        for p in method.teacher.network.parameters():
            p.add_(0.3 * torch.randn_like(p))
    batch = batch_with_two_boxes()
    torch.manual_seed(5)
    losses = method(batch, 0)
    _, weak, valid_BHW, views = batch.unlabelled
    features = [torch.cat([mixed(view) for view in views])]
    features.append(method.student.stem(features[0]))
    torch.manual_seed(5)
    logits = method.student.decode(complementary_dropout(features)).chunk(2)
    target = method.teacher.network(weak)
    expected = sum(
        view_loss(view, valid_BHW, target, seen, tau)
        for view, seen in zip(views, logits, strict=True)
    )
    return largest(losses.terms["consistency"], expected / 2)


def test_v2_is_the_papers_formula() -> None:
    assert v2_difference() < 1e-5


def test_v2_takes_named_perturbations_instead_of_its_own() -> None:
    method, batch = UniMatchV2(new_setup(0.0, feature_perturbations=[])), batch_with_two_boxes()
    one, two = (method(batch, 0).terms["consistency"].item() for _ in range(2))
    assert one == two  # nothing is drawn


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_what_one_view_loses_the_other_keeps(batch: int) -> None:
    torch.manual_seed(0)
    shapes = [(3, 8, 8), (16, 4, 4), (16, 2, 2), (5, 1, 1)]
    features = [torch.ones(2 * batch, *shape) for shape in shapes]
    for share in (0.0, 0.5, 1.0):
        dropped = complementary_dropout(features, share)
        assert torch.equal(dropped[0], features[0])
        for map_BDhw in dropped[1:]:
            first, second = map_BDhw.chunk(2)
            assert torch.equal(first + second, torch.full_like(first, 2.0))
            assert set(map_BDhw.unique().tolist()) <= {0.0, 1.0, 2.0}
            assert torch.equal(first, first[:, :, :1, :1].expand_as(first))
        whole = (dropped[1][:batch] == 1).all(dim=(1, 2, 3)).sum().item()
        assert whole == batch - round(batch * share)
        # Levels of as many channels lose the same ones.
        assert torch.equal(dropped[1][..., 0, 0], dropped[2][..., 0, 0])


def test_complementary_dropout_keeps_the_mean_over_many_draws() -> None:
    torch.manual_seed(0)
    features = [torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2)]
    draws = torch.stack([complementary_dropout(features, 1.0)[1] for _ in range(2000)])
    torch.testing.assert_close(draws.mean(0), features[1], atol=0.1, rtol=0)


def v1_difference() -> float:
    """Of both terms, with the channels dropped that the method drops."""
    tau = 0.6
    method, batch = UniMatchV1(new_setup(tau)), batch_with_two_boxes()
    torch.manual_seed(5)
    losses = method(batch, 0)
    _, weak, valid_BHW, views = batch.unlabelled
    target = method.student(weak)
    torch.manual_seed(5)
    dropped = F.dropout2d(method.student.stem(weak), 0.5, training=True)
    plain = StrongView(weak, torch.zeros_like(valid_BHW))
    first, second = (
        view_loss(view, valid_BHW, target, method.student(mixed(view)), tau) for view in views
    )
    features = view_loss(plain, valid_BHW, target, method.student.decode([weak, dropped]), tau)
    expected = {"consistency": (first + second) / 4, "feature_consistency": features / 2}
    return max(largest(losses.terms[name], value) for name, value in expected.items())


def test_v1_is_the_papers_formula() -> None:
    assert v1_difference() < 1e-5


@pytest.mark.parametrize("method_type", [UniMatchV1, UniMatchV2])
def test_it_does_not_care_which_class_is_which(method_type) -> None:
    order = torch.tensor([2, 0, 3, 1])
    found = []
    for renamed in (False, True):
        method, batch = method_type(new_setup(0.6)), batch_with_two_boxes()
        networks = [method.student, *(t.network for t in [getattr(method, "teacher", None)] if t)]
        if renamed:
            for p in [p for network in networks for p in network.head.parameters()]:
                p.data = p.data[order]
        torch.manual_seed(1)
        terms = method(batch, 0).terms
        found.append(sum(value for name, value in terms.items() if name != "supervised"))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("method_type", [UniMatchV1, UniMatchV2])
def test_without_a_reliable_pixel_the_unsupervised_gradient_is_exactly_0(method_type) -> None:
    method, batch = method_type(new_setup(1.0)), batch_with_two_boxes()
    losses = method(batch, 0)
    sum(value for name, value in losses.terms.items() if name != "supervised").backward()
    assert losses.logs["reliable_share"].item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in method.student.parameters())
