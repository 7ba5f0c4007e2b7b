"""The moving average, exactly."""

from __future__ import annotations

import copy

import torch
from torch import nn

from pipeline.methods.shared.ema_teacher import Teacher


def student_with_batch_norm() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def step(student: nn.Sequential) -> None:
    """Weights and statistics move, as in training."""
    student.train()(torch.rand(2, 3, 4, 4) * 5)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(torch.rand_like(p))


def test_after_step_0_it_equals_the_student() -> None:
    student = student_with_batch_norm()
    teacher = Teacher(student, decay=0.99)
    step(student)
    teacher.update(student, 0)
    for key, value in student.state_dict().items():
        assert torch.equal(teacher.network.state_dict()[key], value), key


def test_it_follows_the_formula_with_float_buffers_and_copies_integers() -> None:
    student = student_with_batch_norm()
    teacher = Teacher(student, decay=0.7)
    expected = copy.deepcopy(student.state_dict())
    for number in range(6):
        step(student)
        teacher.update(student, number)
        keep = min(1 - 1 / (number + 1), 0.7)  # 0, .5, .667, .7, .7, .7
        for key, new in student.state_dict().items():
            floating = new.is_floating_point()
            expected[key] = keep * expected[key] + (1 - keep) * new if floating else new.clone()
    for key, value in teacher.network.state_dict().items():
        torch.testing.assert_close(value, expected[key], msg=key)
    assert teacher.network.state_dict()["1.num_batches_tracked"].item() == 6
    assert teacher.network.state_dict()["1.running_mean"].ne(0).all()


def test_it_stays_in_eval_mode_and_gives_no_gradient() -> None:
    student = student_with_batch_norm()
    teacher = Teacher(student, decay=0.9)
    teacher.train()
    before = teacher.network.state_dict()["1.running_mean"].clone()
    logits = teacher(torch.rand(2, 3, 4, 4))
    assert not logits.requires_grad
    assert torch.equal(teacher.network.state_dict()["1.running_mean"], before)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
