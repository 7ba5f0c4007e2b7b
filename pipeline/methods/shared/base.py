"""What semi-supervised methods share: a method's own file says only how unlabelled images teach.

B images, C channels, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from pipeline.config.block import Block, parse_block
from pipeline.config.params import MethodParams
from pipeline.errors import ConfigError
from pipeline.methods.shared.dropout_switch import steady_decode
from pipeline.methods.shared.ema_teacher import Teacher
from pipeline.methods.shared.feature_perturbations import FEATURE_PERTURBATIONS, Scene
from pipeline.methods.shared.losses import ramp_up
from pipeline.methods.shared.mixing import MIXES, Mix
from pipeline.methods.shared.protocol import (
    Batch,
    Losses,
    MethodSetup,
    Network,
    StrongColour,
    Unlabelled,
)
from pipeline.types import IGNORE

Rule = TypeVar("Rule")


def wanted(
    params: MethodParams, knob: str, own: tuple[str, ...], table: Mapping[str, Rule]
) -> tuple[str, ...]:
    """Rows of the table that method.<knob> names, the method's own where it is null.

    ConfigError for a name that is no row, listing the rows.
    """
    given = getattr(params, knob)
    names = own if given is None else tuple(given)
    for name in names:
        if name not in table:
            raise ConfigError(f"method.{knob}: {name!r}: unknown; known: {', '.join(table)}")
    return names


def drawn(names: tuple[str, ...], table: Mapping[str, Rule]) -> Rule:
    """One of the named rows, drawn from torch's global generator if there are several."""
    place = int(torch.randint(len(names), ())) if len(names) > 1 else 0
    return table[names[place]]


class SemiSupervised(nn.Module):
    """L = supervised + lambda(t) * terms of `unsupervised`; keeps the student.

    What a shift adds, `cross_domain` and `masked`, rises as lambda(t) does, to 1. Without
    unlabelled images, or with weight 0, it is `supervised` to the last bit.
    """

    num_strong_views: int = 1
    strong_colour: StrongColour = "jitter"
    mixes: ClassVar[tuple[str, ...]] = ("none",)
    """Rows of MIXES unless method.mixes names others."""
    feature_perturbations: ClassVar[tuple[str, ...]] = ()
    """Rows of FEATURE_PERTURBATIONS unless method.feature_perturbations names others."""
    num_phases: int = 1
    learning_rates: dict[str, float]
    unweighted: ClassVar[tuple[str, ...]] = ()
    """Terms of `unsupervised` that lambda(t) leaves alone: an adversary's own."""
    options_type: ClassVar[type[Block]] = Block
    """What method.options may hold, with its defaults."""
    perturbs_networks: ClassVar[bool] = False
    """Whether method.network_perturbation is read."""

    def __init__(self, setup: MethodSetup) -> None:
        """One student; ConfigError for options, mixes or perturbations that it does not have."""
        super().__init__()
        params = setup.params
        if params.network_perturbation != "none" and not self.perturbs_networks:
            raise ConfigError(
                f"method.network_perturbation = {params.network_perturbation!r}: {params.name} "
                "cannot train a second pair of networks; set it to none"
            )
        self.setup = setup
        self.params = params
        source = f"method.options of {params.name}"
        self.options = parse_block(self.options_type, params.options, source=source)
        self.learning_rates = {}
        self.mix_names = wanted(params, "mixes", self.mixes, MIXES) or ("none",)
        self.perturbation_names = wanted(
            params, "feature_perturbations", self.feature_perturbations, FEATURE_PERTURBATIONS
        )
        self.student = setup.new_network(0)
        self.consistency_scale: Tensor
        self.register_buffer("consistency_scale", torch.ones(()))

    def forward(self, batch: Batch, step: int) -> Losses:
        """The term `supervised` and, with unlabelled images, those of the method, weighed."""
        # Apart from the unlabelled images: where those teach nothing, the batch norms of the
        # labelled pass see exactly what they see in `supervised`.
        supervised = {"supervised": self.supervised(batch)}
        if batch.unlabelled is None or self.params.consistency_weight == 0:
            return Losses(supervised, {})
        found = self.unsupervised(batch, batch.unlabelled, step)
        at_shift = {"cross_domain": self.setup.cross_domain, "masked": self.setup.masked}
        for name, term in at_shift.items():
            if term and (student := self.learner()) is not None:
                seen = (cast(Network, student), self.result(), batch, batch.unlabelled)
                found.terms[name] = term.loss(*seen)
        weights = dict.fromkeys(found.terms, self.weight(step)) | dict.fromkeys(self.unweighted, 1)
        # Cross-entropies, as the labelled loss: a weight chosen for squared distances of
        # probabilities is none for them. In DACS's and MIC's code theirs is 1.
        weights |= dict.fromkeys(at_shift, self._risen(1.0, step))
        terms = {name: weights[name] * term for name, term in found.terms.items()}
        return Losses(supervised | terms, found.logs)

    def supervised(self, batch: Batch) -> Tensor:
        """The labelled loss of the student."""
        return self.setup.labelled_loss(self.student, batch.images_BCHW, batch.masks_BHW)

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """Terms not yet multiplied by lambda(t), and logs."""
        raise NotImplementedError

    def weight(self, step: int) -> Tensor:
        """lambda(t), in [0, consistency_weight]: ramped up, and halved by every restart."""
        return self._risen(self.params.consistency_weight, step)

    def _risen(self, weight: float, step: int) -> Tensor:
        num_ramp_steps = self.params.rampup_share * self.setup.num_steps
        # A tensor: reading a number from the device would wait for it at every step.
        return weight * ramp_up(step, num_ramp_steps) * self.consistency_scale

    def mix(self, unlabelled: Unlabelled, pseudo_BHW: Tensor, number: int = 0) -> Mix:
        """How strong view `number` is mixed, by one of the rules in force.

        What the teacher says about padding is no class to paste.
        """
        rule = drawn(self.mix_names, MIXES)
        known_BHW = torch.where(unlabelled.valid_BHW, pseudo_BHW, IGNORE)
        return rule(unlabelled.strong[number], known_BHW, self.setup.num_classes)

    def perturbed(
        self, network: Network, images_BCHW: Tensor, probs_BKHW: Tensor, mix: Mix | None = None
    ) -> Tensor:
        """Logits of `network`, through one of the feature perturbations in force, if any.

        `probs_BKHW` is what the target says about the same pixels, or about those of before `mix`:
        moving K channels costs as much as a loss, so it waits until a perturbation wants them.
        """
        if not self.perturbation_names:
            return network(images_BCHW)
        perturb = drawn(self.perturbation_names, FEATURE_PERTURBATIONS)
        probs_BKHW = probs_BKHW if mix is None else mix.moved(probs_BKHW)
        features = network.encode(images_BCHW)
        return network.decode(perturb(features, Scene(probs_BKHW, steady_decode(network))))

    def after_step(self, step: int) -> None:
        """Nothing to move."""

    def restart(self) -> None:
        """Unlabelled images teach half as much from now on."""
        self.consistency_scale *= 0.5

    def result(self) -> nn.Module:
        """The student."""
        return self.student

    def learner(self) -> nn.Module | None:
        """None: the student is kept."""
        return None


class Pair(NamedTuple):
    """Who learns, and from whom."""

    student: Network
    teacher: Teacher


class TeacherStudent(SemiSupervised):
    """A student and its average, the teacher, which is kept; a method says what `learn` means.

    With method.network_perturbation = initialisation there are two such pairs from different
    initial weights, and each student learns from the other's teacher.
    """

    perturbs_networks: ClassVar[bool] = True
    """True where `learn` looks at nothing of `self` that belongs to one network."""

    def __init__(self, setup: MethodSetup) -> None:
        """Teachers start as their students."""
        super().__init__(setup)
        self.teacher = Teacher(self.student, setup.params.ema_decay)
        self.others = nn.ModuleList()
        if setup.params.network_perturbation == "initialisation":
            student = setup.new_network(1)
            self.others.extend([student, Teacher(student, setup.params.ema_decay)])

    def supervised(self, batch: Batch) -> Tensor:
        """Summed over the students."""
        loss = super().supervised(batch)
        for student, _ in self._other_pairs():
            loss = loss + self.setup.labelled_loss(student, batch.images_BCHW, batch.masks_BHW)
        return loss

    def unsupervised(self, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """What the student learns from the teacher; of two, each from the other's."""
        pair = Pair(self.student, self.teacher)
        if not self.others:
            return self.learn(pair, batch, unlabelled, step)
        (other,) = self._other_pairs()
        first = self.learn(Pair(pair.student, other.teacher), batch, unlabelled, step)
        second = self.learn(Pair(other.student, pair.teacher), batch, unlabelled, step)
        terms = {name: term + second.terms[name] for name, term in first.terms.items()}
        return Losses(terms, first.logs)

    def learn(self, pair: Pair, batch: Batch, unlabelled: Unlabelled, step: int) -> Losses:
        """Terms not yet multiplied by lambda(t), and logs, for one student."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """The teachers follow."""
        self.teacher.update(self.student, step)
        for student, teacher in self._other_pairs():
            teacher.update(cast(nn.Module, student), step)

    def restart(self) -> None:
        """As above, and teachers start again as their students."""
        super().restart()
        self.teacher.restart(self.student)
        for student, teacher in self._other_pairs():
            teacher.restart(cast(nn.Module, student))

    def result(self) -> nn.Module:
        """The teacher."""
        return self.teacher.network

    def learner(self) -> nn.Module | None:
        """The student."""
        return self.student

    def _other_pairs(self) -> list[Pair]:
        return [Pair(*cast(Any, tuple(self.others)))] if self.others else []
