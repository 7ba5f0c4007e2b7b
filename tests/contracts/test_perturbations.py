"""What every row of MIXES and FEATURE_PERTURBATIONS must do, alone and together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS
from pipeline.methods.shared.mixing import MIXES
from tests.contracts.test_methods import new_batch, new_method, train_steps

METHODS = ["mean_teacher", "fixmatch"]
TOGETHER = {
    "mixes": ["cutmix", "classmix"],
    "feature_perturbations": ["dropout", "vat"],
    "network_perturbation": "initialisation",
}


def gradients(method, network: nn.Module, seed: int = 3) -> list[Tensor]:
    """Of `network` from the unlabelled images alone."""
    batch = new_batch(method)
    assert batch.unlabelled is not None
    torch.manual_seed(seed)
    method.zero_grad()
    terms = method.unsupervised(batch, batch.unlabelled, seed).terms
    assert all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    found = [p.grad for p in network.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in found)
    return [grad.clone() for grad in found if grad is not None]


def assert_it_teaches(method) -> None:
    assert any(grad.any() for grad in gradients(method, method.student))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_teaches(name: str, mix: str) -> None:
    assert_it_teaches(new_method(name, mixes=[mix], confidence_threshold=0.0))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("mix", ["classmix", "complexmix"])
def test_what_the_teacher_says_about_padding_is_not_pasted(name: str, mix: str) -> None:
    method = new_method(name, mixes=[mix])
    unlabelled = new_batch(method).unlabelled
    assert unlabelled is not None
    pseudo_BHW = torch.arange(32).expand_as(unlabelled.valid_BHW) // 8
    foreign_BHW = method.mix(unlabelled, pseudo_BHW).foreign_BHW
    assert foreign_BHW.any()
    assert not foreign_BHW[~unlabelled.valid_BHW].any()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("perturbation", FEATURE_PERTURBATIONS)
def test_a_feature_perturbation_teaches_and_is_noticed(name: str, perturbation: str) -> None:
    plain = new_method(name, confidence_threshold=0.0)
    other = new_method(name, feature_perturbations=[perturbation], confidence_threshold=0.0)
    pairs = zip(gradients(plain, plain.student), gradients(other, other.student), strict=True)
    assert any(not torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("perturbation", FEATURE_PERTURBATIONS)
def test_a_feature_perturbation_moves_batch_norm_once(name: str, perturbation: str) -> None:
    method = new_method(name, feature_perturbations=[perturbation])
    before = method.student.decoder.body[1].num_batches_tracked.item()
    gradients(method, method.student)
    assert method.student.decoder.body[1].num_batches_tracked.item() == before + 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("seed", range(6))  # other members of each list are drawn
def test_they_work_together(name: str, seed: int) -> None:
    method = new_method(name, confidence_threshold=0.0, **TOGETHER)
    for student in (method.student, method.others[0]):
        assert any(grad.any() for grad in gradients(method, student, seed))


@pytest.mark.parametrize("name", METHODS)
def test_together_the_same_seed_gives_the_same_weights(name: str) -> None:
    networks = [
        train_steps(new_method(name, confidence_threshold=0.0, **TOGETHER), 4) for _ in range(2)
    ]
    states = [network.state_dict() for network in networks]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


class TestNetworkPerturbation:
    @pytest.fixture(params=[*METHODS, "ua_mt", "cutmix_seg"])
    def method(self, request: pytest.FixtureRequest):
        options = {"limit_start": 1.0} if request.param == "ua_mt" else {}
        return new_method(
            request.param,
            confidence_threshold=0.0,
            network_perturbation="initialisation",
            options=options,
        )

    def test_the_students_differ(self, method) -> None:
        pairs = zip(method.student.parameters(), method.others[0].parameters(), strict=True)
        assert any(not torch.equal(one, two) for one, two in pairs)
        train_steps(method, 3)
        pairs = zip(method.student.parameters(), method.others[0].parameters(), strict=True)
        assert any(not torch.equal(one, two) for one, two in pairs)

    @pytest.mark.parametrize("which", ["first", "second"])
    def test_each_is_taught_by_the_others_teacher(self, method, which: str) -> None:
        students = {"first": method.student, "second": method.others[0]}
        teachers: dict[str, Teacher] = {"first": method.teacher, "second": method.others[1]}
        before = {name: gradients(method, student) for name, student in students.items()}
        with torch.no_grad():
            teachers[which].network.head.bias[2] += 4.0
        for name, student in students.items():
            after = gradients(method, student)
            same = all(torch.equal(*pair) for pair in zip(before[name], after, strict=True))
            assert same == (name == which)

    def test_a_teacher_follows_its_own_student(self, method) -> None:
        train_steps(method, 1)  # after step 0 a teacher equals its student
        pairs = [(method.teacher, method.student), (method.others[1], method.others[0])]
        for teacher, student in pairs:
            own = zip(teacher.network.parameters(), student.parameters(), strict=True)
            assert all(torch.allclose(one, two) for one, two in own)
        assert method.result() is method.teacher.network
