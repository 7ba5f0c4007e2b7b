"""A plan: what every `auto` of params.yaml stands for, why, and what a round will take."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.params import Params
from pipeline.planning.data_fingerprint import DataFingerprint
from pipeline.planning.machine import Machine
from pipeline.planning.plan_rules import RULES, Facts, Profile, background
from pipeline.training.probes.contest import MOST_JUDGED
from pipeline.training.probes.probe_choice import probe_params

NO_BUDGET = "the loop asks until people or the stopping rule end it"
OF_YOURS = "as params.yaml says"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One knob, what it is set to and why."""

    knob: str
    """As in params.yaml, such as train.steps."""
    value: Any
    reason: str
    yours: bool
    """Set by a person; the plan would not touch it."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Choices for one workspace on one machine, and what they cost there."""

    profile: Profile
    data: DataFingerprint
    machine: Machine
    choices: tuple[Choice, ...]
    minutes_per_round: float
    """The baseline's training, the teacher's, and the prediction of every image."""
    memory_mib: float
    """Of a training: weights and activations."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def values(self) -> dict[str, Any]:
        """What the plan itself chose, by knob."""
        return {
            choice.knob: choice.value
            for choice in self.choices
            if choice.knob in RULES and not choice.yours
        }


def make_plan(facts: Facts, params: Params, free: frozenset[str]) -> TrainingPlan:
    """Ask every rule in turn; knobs outside of `free` keep the value that `params` gives them.

    A rule sees what was chosen before it, whoever chose it. ModelError where the network that is
    chosen cannot be built.
    """
    choices = []
    for knob, rule in RULES.items():
        block, _, name = knob.partition(".")
        if knob in free:
            value, reason = rule(facts, params)
            params = params.with_knobs(**{block: {name: value}})
        else:
            value, reason = getattr(getattr(params, block), name), OF_YOURS
        choices.append(Choice(knob=knob, value=value, reason=reason, yours=knob not in free))
    cost = facts.cost(params)
    return TrainingPlan(
        profile=facts.profile,
        data=facts.data,
        machine=facts.machine,
        choices=(*choices, _background(facts, params), _budget(params), *_of_domain(params)),
        minutes_per_round=_minutes(facts, params),
        memory_mib=cost.memory_mib,
    )


def _background(facts: Facts, params: Params) -> Choice:
    """Never chosen, only proposed: it changes what people's answers mean."""
    own = params.annotation.background
    reason = background(facts, params).reason if own is None else OF_YOURS
    return Choice(knob="annotation.background", value=own, reason=reason, yours=own is not None)


def _budget(params: Params) -> Choice:
    """Never chosen, only shown: money is a person's to say."""
    budget = params.loop.budget
    reason = NO_BUDGET if budget is None else OF_YOURS
    return Choice(knob="loop.budget", value=budget, reason=reason, yours=budget is not None)


def _of_domain(params: Params) -> list[Choice]:
    """What the current domain has of its own, which goes before what holds for all."""
    if params.domain is None:
        return []
    own = params.domains[params.domain].model_dump(exclude_none=True)
    reason = f"of {params.domain} alone, before what holds for all domains"
    return [
        Choice(knob=f"domains.{params.domain}.{name}", value=value, reason=reason, yours=True)
        for name, value in own.items()
    ]


def _minutes(facts: Facts, params: Params) -> float:
    cost, data = facts.cost(params), facts.data
    # A teacher of labels alone is the baseline, and trained once.
    alone = params.method.name == "supervised" and not data.shifted
    trainings_s = params.train.steps * (cost.step_s + (0 if alone else cost.supervised_step_s))
    height, width = params.image.seen_size((data.height_px, data.width_px))
    # Tiles overlap by a quarter of each side.
    seen_px = height * width * (1.0 if params.image.scale is None else (4 / 3) ** 2)
    if params.model.contender != "none":
        trainings_s += _contest_s(facts, params)
    return (trainings_s + data.num_images * seen_px / 1e6 * cost.megapixel_s) / 60


def _contest_s(facts: Facts, params: Params) -> float:
    """Of a probe's training, and of both models on the val images that decide."""
    size = (facts.data.height_px, facts.data.width_px)
    probe = probe_params(params, size)
    cost, whole = facts.cost(probe), facts.cost(params)
    seen, network = (math.prod(each.image.seen_size(size)) / 1e6 for each in (probe, params))
    judged = min(MOST_JUDGED, facts.data.num_images)
    looks = (facts.data.num_labelled + judged) * seen * cost.megapixel_s
    return probe.train.steps * cost.step_s + looks + judged * network * whole.megapixel_s
