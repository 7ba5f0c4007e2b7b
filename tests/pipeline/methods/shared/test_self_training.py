"""ST++ and CBST: what is labelled in which phase, in plain loops, and their state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods import MethodSetup, Unlabelled
from pipeline.methods.cbst import CBST
from pipeline.methods.shared.losses import labelled_loss
from pipeline.methods.shared.self_training import SelfTraining
from pipeline.methods.st_plus_plus import STPlusPlus, mean_iou
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, TinySet, new_batch, tiny_network
from tests.support.trainings import equal

NUM_STEPS, NUM_IMAGES = 15, 5
METHODS = [STPlusPlus, CBST]


def new_method(method: type[SelfTraining], num_images: int = NUM_IMAGES, **knobs) -> SelfTraining:
    setup = MethodSetup(
        params=MethodParams(rampup_share=0.0, **knobs),
        num_classes=NUM_CLASSES,
        num_steps=NUM_STEPS,
        new_network=tiny_network,
        labelled_loss=labelled_loss,
        unlabelled=TinySet(num_images),
    )
    return method(setup).train()


def draw(step: int):
    batch = new_batch(1, step)
    assert batch.unlabelled is not None
    index_B = batch.unlabelled.index_B % NUM_IMAGES
    return batch._replace(unlabelled=batch.unlabelled._replace(index_B=index_B))


def train_steps(method: SelfTraining, steps: range, optimizer=None) -> torch.optim.Optimizer:
    learning = [p for p in method.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.AdamW(learning, lr=0.02)
    for step in steps:
        torch.manual_seed(step)
        loss = torch.stack(list(method(draw(step), step).terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step)
    return optimizer


@torch.no_grad()
def shake(network: nn.Module, scale: float) -> None:
    """Move the weights at random, so that every class is predicted somewhere."""
    torch.manual_seed(3)
    for p in network.parameters():
        p.add_(scale * torch.randn_like(p))


def weak_view() -> tuple[Unlabelled, Tensor]:
    torch.manual_seed(5)
    index_B, weak_BCHW = torch.tensor([3, 0, 4, 1]), torch.rand(4, 3, 8, 8)
    probs_BKHW = torch.randn(4, NUM_CLASSES, 8, 8).mul(2).softmax(dim=1)
    return Unlabelled(index_B, weak_BCHW, torch.ones(4, 8, 8) > 0, ()), probs_BKHW


def plain_mean_iou(one_HW: list[list[int]], other_HW: list[list[int]]) -> float:
    pairs = [
        pair
        for row, other in zip(one_HW, other_HW, strict=True)
        for pair in zip(row, other, strict=True)
    ]
    ious = []
    for k in range(NUM_CLASSES):
        either = sum(k in pair for pair in pairs)
        if either:
            ious.append(sum(pair == (k, k) for pair in pairs) / either)
    return sum(ious) / len(ious)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [2, 3, 5, 7, 10])  # phases end after 5 and 10; 3, 6, 9, 12
def test_resumed_at_any_step_equals_uninterrupted(method: type[SelfTraining], cut: int) -> None:
    whole, first, second = (new_method(method) for _ in range(3))
    train_steps(whole, range(NUM_STEPS))
    optimizer = train_steps(first, range(cut))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    resumed = torch.optim.AdamW([p for p in second.parameters() if p.requires_grad], lr=0.02)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train_steps(second, range(cut, NUM_STEPS), resumed)
    assert equal(whole.state_dict(), second.state_dict())


@pytest.mark.parametrize("method", METHODS)
def test_the_first_phase_is_supervised_and_its_student_labels(method: type[SelfTraining]) -> None:
    learner, baseline = new_method(method), new_method(method, consistency_weight=0.0)
    assert (learner.num_phases > 1, baseline.num_phases) == (True, 1)
    last = learner.phase_length - 1
    train_steps(learner, range(last))
    train_steps(baseline, range(last + 1))
    losses = learner(draw(last), last)
    assert losses.terms["consistency"].item() == 0.0
    learner = new_method(method)
    train_steps(learner, range(last + 1))
    assert equal(learner.labeller.network.state_dict(), baseline.student.state_dict())
    torch.manual_seed(0)
    assert learner(draw(last + 1), last + 1).logs.keys() == losses.logs.keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("knobs", [{"num_images": 0}, {"consistency_weight": 0.0}])
def test_with_nothing_to_learn_there_is_one_phase(method: type[SelfTraining], knobs) -> None:
    assert new_method(method, **knobs).num_phases == 1


def mean_iou_difference() -> float:
    """Of three pairs of labellings, pixel by pixel."""
    draw = torch.Generator().manual_seed(0)
    one_BHW = torch.randint(3, (3, 4, 5), generator=draw)
    other_BHW = torch.where(torch.rand(3, 4, 5, generator=draw) < 0.5, one_BHW, 1)
    pairs = zip(one_BHW.tolist(), other_BHW.tolist(), strict=True)
    found = mean_iou(one_BHW, other_BHW, NUM_CLASSES)
    return largest(found, [plain_mean_iou(a, b) for a, b in pairs])


def test_mean_iou_is_over_the_classes_of_either() -> None:
    assert mean_iou_difference() < 1e-6
    one_BHW = torch.randint(3, (3, 4, 5), generator=torch.Generator().manual_seed(0))
    other_BHW = torch.where(torch.rand(3, 4, 5) < 0.5, one_BHW, 1)
    expected = [
        plain_mean_iou(a, b) for a, b in zip(one_BHW.tolist(), other_BHW.tolist(), strict=True)
    ]
    assert mean_iou(one_BHW, other_BHW, NUM_CLASSES).tolist() == pytest.approx(expected)
    order = torch.tensor([2, 3, 1, 0])
    renamed_B = mean_iou(order[one_BHW], order[other_BHW], NUM_CLASSES)
    assert renamed_B.tolist() == pytest.approx(expected)
    assert mean_iou(one_BHW, one_BHW, NUM_CLASSES).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("place", "done"), [(0, 1), (1, 3)])
def test_st_plus_plus_keeps_networks_of_a_third_and_two_thirds(place: int, done: int) -> None:
    method, shorter = new_method(STPlusPlus), new_method(STPlusPlus)
    assert isinstance(method, STPlusPlus)
    train_steps(method, range(5))  # the first phase
    train_steps(shorter, range(done))
    snapshot = method.snapshots[place].network
    assert equal(snapshot.state_dict(), shorter.student.state_dict())


def test_st_plus_plus_chooses_the_images_on_which_its_networks_agree() -> None:
    method = new_method(STPlusPlus)
    assert isinstance(method, STPlusPlus)
    shake(method.labeller, 0.4)
    for snapshot in method.snapshots:
        snapshot.load_state_dict(method.labeller.state_dict())
        shake(snapshot, 0.1)
    expected = []
    for image_CHW in method.setup.unlabelled.images:
        classes_HW = method.labeller(image_CHW[None]).argmax(1)[0].tolist()
        agreements = [
            plain_mean_iou(snapshot(image_CHW[None]).argmax(1)[0].tolist(), classes_HW)
            for snapshot in method.snapshots
        ]
        expected.append(sum(agreements) / len(agreements))
    assert method.reliability_N().tolist() == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == NUM_IMAGES
    shake(method.student, 1.0)
    method.prepare_phase(1)
    best = sorted(range(NUM_IMAGES), key=lambda place: -expected[place])[:3]  # half of 5, up
    assert method.chosen_N.nonzero().flatten().tolist() == sorted(best)
    assert equal(method.student.state_dict(), tiny_network().state_dict())


def test_st_plus_plus_learns_nothing_from_images_not_chosen() -> None:
    method = new_method(STPlusPlus)
    unlabelled, probs_BKHW = weak_view()
    method.chosen_N[torch.tensor([3, 4])] = True
    labels_BHW = method.labels(probs_BKHW, unlabelled)
    assert torch.equal(labels_BHW[[0, 2]], probs_BKHW.argmax(1)[[0, 2]])
    assert (labels_BHW[[1, 3]] == IGNORE).all()


def third_phase_difference() -> float:
    """Of logits that label in phase 3, of the end of phase 1 or of phase 2, after a resume."""
    method = new_method(STPlusPlus)
    assert isinstance(method, STPlusPlus)
    optimizer = train_steps(method, range(5))
    first = copy.deepcopy(method.labeller.network)
    train_steps(method, range(5, 10), optimizer)
    resumed = new_method(STPlusPlus)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    assert isinstance(resumed, STPlusPlus)
    assert not equal(first.state_dict(), resumed.labeller.network.state_dict())
    index_B, weak_BCHW = torch.tensor([3, 0, 4, 1, 2]), torch.rand(5, 3, 32, 32)
    unlabelled = Unlabelled(index_B, weak_BCHW, torch.ones(5, 32, 32) > 0, ())
    reliable = set(resumed.reliable_N.nonzero().flatten().tolist())
    assert len(reliable) == 3
    found_BKHW, worst = resumed.label_logits(unlabelled), 0.0
    for b, image in enumerate(index_B.tolist()):
        networks = (first, resumed.labeller.network)
        own, other = networks if image in reliable else networks[::-1]
        expected_KHW = own(weak_BCHW[b : b + 1])[0]
        worst = max(worst, largest(found_BKHW[b], expected_KHW.flatten().tolist()))
        assert not torch.allclose(found_BKHW[b], other(weak_BCHW[b : b + 1])[0], atol=1e-3)
    labels_BHW = resumed.labels(found_BKHW.softmax(1), unlabelled)
    assert torch.equal(labels_BHW, found_BKHW.argmax(1))  # all of them teach
    return worst


def test_st_plus_plus_keeps_the_first_labels_of_reliable_images() -> None:
    assert third_phase_difference() < 1e-5


def test_st_plus_plus_ends_with_all_images_and_again_from_the_start() -> None:
    method = new_method(STPlusPlus)
    train_steps(method, range(10))
    assert method.chosen_N.all()
    assert equal(method.student.state_dict(), tiny_network().state_dict())
    train_steps(method, range(10, NUM_STEPS))
    assert method.result() is method.student
    assert not equal(method.student.state_dict(), tiny_network().state_dict())


def cbst_difference(stride: int) -> float:
    """Of the thresholds: the confidence at a fifth of each class's pixels, from the surest on."""
    method = new_method(CBST, options={"pixel_stride": stride})
    assert isinstance(method, CBST)
    assert method.num_phases == 5
    shake(method.labeller, 0.4)
    method.prepare_phase(1)
    confidences: list[list[float]] = [[] for _ in range(NUM_CLASSES)]
    for _, images_BCHW in method.setup.unlabelled.batches():
        probs_KM = method.labeller(images_BCHW).softmax(1).transpose(0, 1).flatten(1)
        for column in probs_KM.T.tolist()[::stride]:
            confidences[column.index(max(column))].append(max(column))
    expected = [sorted(found)[::-1][: int(0.2 * len(found)) or 1] for found in confidences]
    thresholds = [surest[-1] if surest else 1.0 for surest in expected]
    assert len(set(thresholds)) > 2
    return largest(method.thresholds_K, thresholds)


@pytest.mark.parametrize("stride", [1, 4])
def test_cbst_labels_the_surest_share_of_every_class(stride: int) -> None:
    assert cbst_difference(stride) < 1e-6


def test_cbst_labels_by_multiples_of_the_threshold() -> None:
    method = new_method(CBST)
    unlabelled, probs_BKHW = weak_view()
    thresholds = [0.9, 0.3, 0.6, 1.0]
    method.thresholds_K.copy_(torch.tensor(thresholds))
    labels_BHW = method.labels(probs_BKHW, unlabelled)
    for b, y, x in (labels_BHW >= 0).nonzero().tolist():
        multiples = [probs_BKHW[b, k, y, x].item() / thresholds[k] for k in range(NUM_CLASSES)]
        best = multiples.index(max(multiples)) if max(multiples) >= 1 else IGNORE
        assert labels_BHW[b, y, x] == best
    assert len(labels_BHW.unique()) > 3
    assert (labels_BHW != IGNORE).logical_and(labels_BHW != probs_BKHW.argmax(1)).any()


def test_cbsts_portion_grows_to_its_last() -> None:
    growth = {"rounds": 4, "first_portion": 0.2, "growth": 0.1, "last_portion": 0.35}
    method = new_method(CBST, options=growth)
    assert isinstance(method, CBST)
    asked: list[float] = []

    def spy(portion: float) -> Tensor:
        asked.append(portion)
        return torch.ones(NUM_CLASSES)

    method.confidences_at = spy
    train_steps(method, range(NUM_STEPS))
    assert asked == pytest.approx([0.2, 0.3, 0.35, 0.35])
