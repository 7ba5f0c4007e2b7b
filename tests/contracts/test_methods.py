"""What every row of METHODS must do; with tiny networks, for the sums are what matters."""

from __future__ import annotations

import copy
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods import METHODS, Batch, MethodSetup, build_method
from pipeline.methods.shared.base import TeacherStudent
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.losses import labelled_loss
from pipeline.methods.shared.protocol import phase_length
from pipeline.types import IGNORE
from tests.support.tiny_network import NUM_CLASSES, TinySet, tiny_network
from tests.support.tiny_network import new_batch as draw_batch

SEMI_SUPERVISED = [name for name in METHODS if name != "supervised"]
NUM_STEPS = 10
TEACHES_FROM_THE_START = {  # options, beside a threshold of 0
    "ua_mt": {"limit_start": 1.0},
    "soft_teacher": {"foreground_threshold": 0.0},
}


def new_method(name: str, *, num_unlabelled: int = 6, **knobs):
    params = MethodParams(name=name, rampup_share=0.0, **knobs)
    setup = MethodSetup(
        params=params,
        num_classes=NUM_CLASSES,
        num_steps=NUM_STEPS,
        new_network=tiny_network,
        labelled_loss=labelled_loss,
        unlabelled=TinySet(num_unlabelled),
    )
    method = build_method(name, setup)
    method.train()
    return method


def new_batch(method, seed: int = 0) -> Batch:
    return draw_batch(method.num_strong_views, seed)


def new_optimizer(method) -> torch.optim.Optimizer:
    learning = [p for _, p in method.named_parameters() if p.requires_grad]
    return torch.optim.AdamW(learning, lr=0.01)


def train_steps(
    method, steps: range | int, optimizer: torch.optim.Optimizer | None = None
) -> nn.Module:
    """As the training loop does it; without unlabelled images where the method was told of none."""
    optimizer = optimizer or new_optimizer(method)
    for step in range(steps) if isinstance(steps, int) else steps:
        batch = new_batch(method, step)
        if not len(method.setup.unlabelled):
            batch = batch._replace(unlabelled=None)
        torch.manual_seed(step)
        if step % phase_length(NUM_STEPS, method.num_phases) == 0:
            optimizer.state.clear()
        loss = torch.stack(list(method(batch, step).terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step)
    return method.student


@cache
def supervised_after(steps: int) -> nn.Module:
    """The student of supervised learning, trained once for all methods."""
    return train_steps(new_method("supervised"), steps)


def assert_equal_weights(one: nn.Module, other: nn.Module) -> None:
    for (name, mine), yours in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, yours), name


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_losses_are_finite_scalars_and_supervised_is_one(name: str) -> None:
    method = new_method(name, confidence_threshold=0.0)
    losses = method(new_batch(method), 3)
    assert "supervised" in losses.terms
    for value in [*losses.terms.values(), *losses.logs.values()]:
        assert value.shape == ()
        assert value.isfinite()
    assert all(value.requires_grad for value in losses.terms.values())
    assert not any(value.requires_grad for value in losses.logs.values())


def test_an_all_ignored_batch_teaches_nothing(name: str) -> None:
    method = new_method(name, confidence_threshold=0.0)
    batch = new_batch(method)
    batch = batch._replace(masks_BHW=torch.full_like(batch.masks_BHW, IGNORE))
    if batch.unlabelled is not None:
        nothing = torch.zeros_like(batch.unlabelled.valid_BHW)
        batch = batch._replace(unlabelled=batch.unlabelled._replace(valid_BHW=nothing))
    loss = torch.stack(list(method(batch, 3).terms.values())).sum()
    loss.backward()
    assert loss.item() == 0.0
    for _, p in method.named_parameters():
        assert p.grad is None or not p.grad.any()


def test_without_unlabelled_images_it_is_supervised(name: str) -> None:
    expected = supervised_after(5)
    assert_equal_weights(train_steps(new_method(name, num_unlabelled=0), 5), expected)


def test_with_weight_0_it_is_supervised(name: str) -> None:
    expected = supervised_after(5)
    assert_equal_weights(train_steps(new_method(name, consistency_weight=0.0), 5), expected)


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_unlabelled_images_change_what_is_learnt(name: str) -> None:
    supervised = supervised_after(5)
    options = TEACHES_FROM_THE_START.get(name, {})
    other = train_steps(new_method(name, confidence_threshold=0.0, options=options), 5)
    pairs = zip(supervised.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in pairs)


def test_a_second_pair_of_networks_is_trained_or_refused(name: str) -> None:
    if METHODS[name].perturbs_networks:
        method = new_method(name, network_perturbation="initialisation")
        assert isinstance(method, TeacherStudent)
        assert len(method.others) == 2
        return
    said = rf"method.network_perturbation = 'initialisation': {name} cannot .*; set it to none"
    with pytest.raises(ConfigError, match=said):
        new_method(name, network_perturbation="initialisation")


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_a_teacher_takes_no_gradient_and_stays_in_eval_mode(name: str) -> None:
    method = new_method(name, confidence_threshold=0.0)
    assert method.student.training
    teachers = [module for module in method.modules() if isinstance(module, Teacher)]
    before = [copy.deepcopy(teacher.state_dict()) for teacher in teachers]
    torch.stack(list(method(new_batch(method), 3).terms.values())).sum().backward()
    for teacher, states in zip(teachers, before, strict=True):
        assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
        assert not any(module.training for module in teacher.modules())
        assert all(torch.equal(states[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_what_is_kept_is_one_network(name: str) -> None:
    method = new_method(name)
    kept = method.result()
    assert {k: v.shape for k, v in kept.state_dict().items()} == {
        k: v.shape for k, v in tiny_network().state_dict().items()
    }


def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    one, two = new_method(name), new_method(name)
    train_steps(one, 3)
    train_steps(two, 3)
    assert_equal_weights(one.result(), two.result())


def test_its_state_is_whole(name: str) -> None:
    method, other = new_method(name), new_method(name)
    train_steps(method, 3)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    batch = new_batch(method, 9)
    losses = []
    for each in (method, other):
        torch.manual_seed(9)
        losses.append(each(batch, 3).terms)
        each.after_step(3)
    assert losses[0] == losses[1]
    assert_equal_weights(method.result(), other.result())


@pytest.mark.heavy
def test_resumed_equals_uninterrupted(name: str) -> None:
    whole, method, other = (new_method(name, confidence_threshold=0.3) for _ in range(3))
    train_steps(whole, 6)
    optimizer, others = new_optimizer(method), new_optimizer(other)
    train_steps(method, 3, optimizer)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    others.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train_steps(other, range(3, 6), others)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_a_restart_halves_what_unlabelled_images_teach_and_takes_the_student(name: str) -> None:
    method = new_method(name, confidence_threshold=0.0)
    train_steps(method, 3)
    batch, losses = new_batch(method, 9), []
    student = copy.deepcopy(method.student.state_dict())
    for _ in range(2):
        before = float(method.weight(3))
        method.restart()
        losses.append(float(method.weight(3)) / before)
    assert losses == [0.5, 0.5]
    if isinstance(method, TeacherStudent):
        for key, value in method.teacher.network.state_dict().items():
            assert torch.equal(value, student[key]), key
    assert all(torch.equal(student[key], v) for key, v in method.student.state_dict().items())
    other = new_method(name, confidence_threshold=0.0)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    assert other.weight(3) == method.weight(3)
    assert all(value.isfinite() for value in method(batch, 3).terms.values())


def test_a_scribble_teaches_and_nothing_around_it_does(name: str) -> None:
    """Partial masks: the loss of the labels hangs on the labelled pixels alone."""
    method = new_method(name, consistency_weight=0.0)
    batch = new_batch(method)
    scribble_BHW = torch.full_like(batch.masks_BHW, IGNORE)
    scribble_BHW[:, 16, 4:20] = 2
    loss = method(batch._replace(masks_BHW=scribble_BHW), 3).terms["supervised"]
    loss.backward()
    assert loss.item() > 0
    assert any(p.grad is not None and p.grad.any() for p in method.student.parameters())
    logits_BKHW = torch.randn(2, NUM_CLASSES, 32, 32, requires_grad=True)
    method.setup.labelled_loss(
        SimpleNamespace(with_auxiliary=lambda _: (logits_BKHW, None)),
        batch.images_BCHW,
        scribble_BHW,
    ).backward()
    assert logits_BKHW.grad is not None
    pulled_BHW = logits_BKHW.grad.abs().sum(dim=1) > 0
    assert torch.equal(pulled_BHW, scribble_BHW != IGNORE)


def test_an_unknown_option_lists_the_known(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"method.options of {name}.*\n.*wrong: unknown key"):
        new_method(name, options={"wrong": 1})


@pytest.mark.parametrize("knob", ["mixes", "feature_perturbations"])
def test_an_unknown_perturbation_lists_the_known(name: str, knob: str) -> None:
    with pytest.raises(ConfigError, match=rf"method.{knob}: 'magic': unknown; known: "):
        new_method(name, **{knob: ["magic"]})


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'magic'.*supervised.*fixmatch"):
        new_method("magic")
