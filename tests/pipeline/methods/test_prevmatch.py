"""PrevMatch's loss against its formula in plain loops; which students are kept."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.methods.prevmatch import PrevMatch, guidance
from tests.pipeline.methods.test_unimatch import (
    Network,
    batch_with_two_boxes,
    mixed,
    new_setup,
    view_loss,
)
from tests.support.tiny_network import NUM_CLASSES

TAU = 0.6
OPTIONS = {"num_previous": 3, "num_mixed": 2, "keep_every_share": 0.2, "previous_threshold": TAU}


def new_method(num_kept: int = 0) -> PrevMatch:
    """With as many earlier students, all of other weights than the student's."""
    method = PrevMatch(new_setup(TAU, options=OPTIONS))
    for number in range(num_kept):
        student = method.student
        method.student = Network(20 + number)
        method.after_step(1)  # of 10 steps every second is kept
        method.student = student
    return method


def compared() -> tuple[dict[str, Tensor], dict[str, float]]:
    """Terms of step 3 of 10: the weak view's labels by w_1 f_1 + w_2 f_2, and g(3) = .6."""
    method, batch = new_method(3), batch_with_two_boxes()
    torch.manual_seed(5)
    losses = method(batch, 3)
    _, weak, valid_BHW, views = batch.unlabelled
    torch.manual_seed(5)
    dropped = F.dropout2d(method.student.stem(weak), 0.5, training=True)
    most = int(torch.randint(1, 3, ()))
    chosen = torch.randperm(3)[:most].tolist()
    weights = torch.distributions.Dirichlet(torch.ones(most)).sample().tolist()
    assert most == 2, "another seed: one network is no mixture"
    assert sum(weights) == pytest.approx(1.0)
    target = torch.zeros(3, NUM_CLASSES, 8, 8)
    for place, weight in zip(chosen, weights, strict=True):
        logits = method.previous[place].network(weak)
        for b in range(3):
            for k in range(NUM_CLASSES):
                target[b, k] += weight * logits[b, k]
    strong = sum(
        view_loss(view, valid_BHW, target, method.student(mixed(view)), TAU) for view in views
    )
    plain = views[0]._replace(boxes_BHW=torch.zeros_like(valid_BHW))
    features = view_loss(plain, valid_BHW, target, method.student.decode([weak, dropped]), TAU)
    return losses.terms, {"previous": 0.6 * strong / 4, "previous_features": 0.6 * features / 2}


def test_the_terms_are_the_papers_formula() -> None:
    terms, expected = compared()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4)


def test_guidance_is_a_triangle() -> None:
    assert [guidance(step, 10) for step in (0, 2, 5, 8)] == pytest.approx([0, 0.4, 1, 0.4])
    assert guidance(5, 11) == pytest.approx(5 / 5.5)


def test_the_last_n_students_are_kept_and_the_oldest_goes_first() -> None:
    method, marks = new_method(), []
    for step in range(10):
        method.student.head.bias.data.fill_(float(step))
        method.after_step(step)
        bias = [float(teacher.network.head.bias[0]) for teacher in method.previous]
        marks.append(bias[: min(int(method.num_kept), 3)])
    assert marks[0] == []
    assert marks[5] == [1.0, 3.0, 5.0]
    assert marks[9] == [7.0, 9.0, 5.0]
    method.restart()
    assert int(method.num_kept) == 0


def test_until_a_student_is_kept_it_is_unimatch() -> None:
    method, batch = new_method(), batch_with_two_boxes()
    terms = method(batch, 3).terms
    assert terms["previous"].item() == terms["previous_features"].item() == 0.0
    assert terms["consistency"].item() > 0


def test_one_to_k_students_label_each_as_likely() -> None:
    method = new_method(3)
    weak_BCHW, counts = torch.rand(1, 3, 8, 8), [0, 0]
    seen: list[Tensor] = []
    for teacher in method.previous:
        teacher.network.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
    torch.manual_seed(0)
    for _ in range(200):
        seen.clear()
        method._mixture(weak_BCHW, 3)
        counts[len(seen) - 1] += 1
    assert counts[0] == pytest.approx(100, abs=3 * math.sqrt(50))
