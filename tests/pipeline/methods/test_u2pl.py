"""U2PL's losses against the paper's formulas in plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.fidelity.comparisons import largest
from pipeline.config.params import MethodParams
from pipeline.methods.u2pl import U2PL, Pixels, key_places, split_by_entropy
from pipeline.types import IGNORE
from tests.pipeline.methods.shared.test_contrast import nce
from tests.pipeline.methods.test_reco import mean
from tests.support.tiny_network import new_batch, tiny_network, tiny_setup

NUM_CLASSES = 4
OPTIONS = {"dimensions": 6, "num_anchors": 3, "num_negatives": 5, "queue_size": 16}


def new_method(**options) -> U2PL:
    setup = tiny_setup(
        MethodParams(name="u2pl", rampup_share=0.0, options={**OPTIONS, **options}),
        NUM_CLASSES,
        new_network=tiny_network,
    )
    method = U2PL(setup)
    method.train()
    return method


def entropy(probs_K: list[float]) -> float:
    return -sum(p * math.log(p) for p in probs_K)


def test_pixels_are_split_by_rank_of_entropy() -> None:
    torch.manual_seed(0)
    probs_BKHW = torch.randn(2, NUM_CLASSES, 5, 5).softmax(1)
    valid_BHW = torch.rand(2, 5, 5) < 0.8
    target = split_by_entropy(probs_BKHW, valid_BHW, 0.2)
    places = [tuple(place) for place in valid_BHW.nonzero().tolist()]
    places.sort(key=lambda place: entropy(probs_BKHW[place[0], :, place[1], place[2]].tolist()))
    # A percentile p lies at rank p (n - 1).
    low, high = 0.2 * (len(places) - 1), 0.8 * (len(places) - 1)
    for parts, belongs in (
        (target.reliable_BHW, lambda rank: rank <= high),
        (target.certain_BHW, lambda rank: rank <= low),
        (target.unreliable_BHW, lambda rank: rank >= high),
    ):
        assert parts.sum().item() == sum(belongs(rank) for rank in range(len(places)))
        assert all(parts[place].item() == belongs(rank) for rank, place in enumerate(places))


def random_pixels(num_pixels: int = 60) -> Pixels:
    torch.manual_seed(1)
    labels_N = torch.tensor([0, 1, 2, 3, IGNORE])[torch.randint(5, (num_pixels,))]
    labelled_N = torch.arange(num_pixels) < num_pixels // 2
    return Pixels(
        representation_ND=torch.randn(num_pixels, 6, requires_grad=True),
        labels_N=labels_N,
        probs_NK=torch.randn(num_pixels, NUM_CLASSES).softmax(1),
        labelled_N=labelled_N,
        unreliable_N=~labelled_N & (torch.rand(num_pixels) < 0.5),
    )


@pytest.mark.parametrize(("low", "high"), [(1, 3), (3, 20), (7, 20)])
def test_keys_are_pixels_surely_of_other_classes(low: int, high: int) -> None:
    pixels = random_pixels()
    for c in range(NUM_CLASSES):
        found = key_places(pixels, c, low, high).tolist()
        for n, key in enumerate(found):
            probs_K = pixels.probs_NK[n].tolist()
            rank = sorted(probs_K, reverse=True).index(probs_K[c])
            start = min(low, NUM_CLASSES - 1)
            if pixels.labelled_N[n]:
                expected = pixels.labels_N[n] not in (c, IGNORE) and rank < start
            else:
                expected = bool(pixels.unreliable_N[n]) and start <= rank < high
            assert key == expected


def test_keys_do_not_care_which_class_is_which() -> None:
    pixels, order = random_pixels(), torch.tensor([2, 0, 3, 1])
    known_N = pixels.labels_N != IGNORE
    labels_N = torch.where(known_N, order.argsort()[pixels.labels_N.where(known_N, 0)], IGNORE)
    renamed = pixels._replace(labels_N=labels_N, probs_NK=pixels.probs_NK[:, order])
    for place, c in enumerate(order.tolist()):
        assert torch.equal(key_places(renamed, place, 2, 4), key_places(pixels, c, 2, 4))


def contrast_difference() -> float:
    """Of the contrast, with the anchors and keys that the method draws."""
    method = new_method()
    learnt = random_pixels()
    known = random_pixels()._replace(representation_ND=torch.randn(60, 6))
    for c in (0, 1, 3):  # class 2 has no key yet
        method.queue.add(c, torch.randn(20, 6))
    torch.manual_seed(7)
    found = method._contrast(learnt, known)

    torch.manual_seed(7)
    total = 0.0
    for c in (0, 1, 3):
        mine = [
            n for n in range(60) if learnt.labels_N[n] == c and learnt.probs_NK[n, c].item() > 0.3
        ]
        anchors = [mine[i] for i in torch.randint(len(mine), (3,)).tolist()]
        positive = mean([known.representation_ND[n].tolist() for n in mine])
        keys = method.queue.get(c).tolist()
        chosen = torch.randint(len(keys), (3, 5)).tolist()
        for n, places in zip(anchors, chosen, strict=True):
            negatives = [keys[place] for place in places]
            total += nce(learnt.representation_ND[n].tolist(), positive, negatives, 0.5) / 3
    return largest(found, total / 4)


def test_contrast_is_the_papers_formula() -> None:
    assert contrast_difference() < 1e-5


def consistency_difference() -> float:
    """Of the mean over reliable pixels after CutMix."""
    method, batch = new_method(unreliable_share=0.5), new_batch(1)
    method.student.decoder.body[-1].p = 0.0  # nothing drawn: two forwards are alike
    torch.manual_seed(0)
    with torch.no_grad():
        for p in method.teacher.network.parameters():
            p.add_(0.2 * torch.randn_like(p))
    step = 4
    term = method.unsupervised(batch, batch.unlabelled, step).terms["consistency"]
    _, weak, valid_BHW, (view,) = batch.unlabelled
    probs_BKHW = method.teacher(weak).softmax(1)
    kept_BHW = split_by_entropy(probs_BKHW, valid_BHW, 0.5 * (1 - step / 10)).reliable_BHW
    mixed_BCHW, pseudo_BHW = view.images_BCHW.clone(), probs_BKHW.argmax(1)
    labels_BHW = pseudo_BHW.where(kept_BHW, IGNORE)
    own_BHW = labels_BHW.clone()
    for b in range(len(weak)):
        box = view.boxes_BHW[b]
        mixed_BCHW[b, :, box] = view.images_BCHW[b - 1][:, box]
        labels_BHW[b, box] = own_BHW[b - 1][box]
    logits = method.student(torch.cat([batch.images_BCHW, mixed_BCHW]))[len(batch.images_BCHW) :]
    learnt_BKHW = logits.softmax(1).tolist()
    losses = [
        -math.log(learnt_BKHW[b][labels_BHW[b, y, x]][y][x])
        for b, y, x in (labels_BHW != IGNORE).nonzero().tolist()
    ]
    assert len(losses) < valid_BHW.sum()
    return largest(term, sum(losses) / len(losses))


def test_consistency_is_the_mean_over_reliable_pixels() -> None:
    assert consistency_difference() < 1e-5


def test_the_queues_fill_and_teach() -> None:
    method, batch = new_method(), new_batch(1)
    for step in range(3):
        method(batch, step)
        method.after_step(step)
    assert method.queue.count_K.sum() > 0
    assert method.queue.count_K.max() <= OPTIONS["queue_size"]
    term = method(batch, 3).terms["contrast"]
    term.backward()
    assert term > 0
    assert any(p.grad.any() for p in method.projection.parameters())
    assert any(p.grad is not None and p.grad.any() for p in method.student.encoder.parameters())
