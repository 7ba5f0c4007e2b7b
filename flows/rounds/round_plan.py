"""What a round trains, where `params.yaml` leaves it to the plan (`auto`).

The loop writes the choices into params.yaml, as `auto:<value>`, and the reasons beside the round's
metrics. So DVC runs again what depends on them, and the round's tag keeps both. Choices stand until
the plan would know more: another domain, its first masks, other pretrained weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from flows.loop import Loop
from pipeline import layout
from pipeline.config.network import AUTO_RANDOM
from pipeline.config.params import Params, left_to_the_plan
from pipeline.config.planned import AUTO, chosen_text, in_blocks
from pipeline.files import write_json
from pipeline.reading import read
from pipeline.records.manifest import Sample
from pipeline.runtime.torch_settings import settle_torch
from pipeline.runtime.weights_folder import stored_weights

if TYPE_CHECKING:
    from pipeline.planning.plan_rules import Profile
    from pipeline.planning.training_plan import TrainingPlan

REMADE = "write auto to a knob of params.yaml, and the next round plans anew"


class _Known(TypedDict):
    """What a kept plan knew when it was made."""

    profile: str
    domain: str | None
    labelled_domains: list[str]
    stored_encoders: list[str]


def choose_plan(loop: Loop) -> None:
    """Write into params.yaml what each `auto` stands for in this round, and say it.

    Nothing where no knob stands at auto, or where every one is chosen and nothing new is known.
    """
    left = left_to_the_plan(loop.root / layout.PARAMS)
    if not left:
        return
    params, samples = loop.read_params(), loop.workspace.manifest()
    bring_weights(params)
    known = _known(params, samples)
    if AUTO not in left.values() and known == _kept(loop):
        return
    made = plan_for(loop.root, params, samples, frozenset(left))
    write_json(loop.root / layout.PLAN, {**known, **made.to_dict()})
    changes = {knob: chosen_text(value) for knob, value in made.values().items()}
    for choice in made.choices:
        if changes.get(choice.knob, left.get(choice.knob)) != left.get(choice.knob):
            loop.log(f"plan: {choice.knob} = {choice.value}: {choice.reason}")
    loop.log(f"plan: about {made.minutes_per_round:.0f} minutes a round on this machine")
    loop.workspace.write_params(in_blocks(changes))


def plan_for(
    root: Path,
    params: Params,
    samples: Sequence[Sample],
    free: frozenset[str],
    profile: Profile | None = None,
) -> TrainingPlan:
    """The plan for the workspace at `root`, on this machine; writes nothing."""
    settle_torch()
    from pipeline.planning.gather_facts import gather_facts
    from pipeline.planning.training_plan import make_plan

    return make_plan(gather_facts(root, params, samples, profile), params, free)


def bring_weights(params: Params) -> None:
    """Ask the hub where `auto` has no weights at all here: what is chosen depends on them."""
    if params.model.encoder_weights in (AUTO, AUTO_RANDOM) and not stored_weights():
        settle_torch()
        from pipeline.models.weights import chosen_weights

        chosen_weights(params.model.encoder)


def _known(params: Params, samples: Sequence[Sample]) -> _Known:
    return {
        "profile": params.profile,
        "domain": params.domain,
        "labelled_domains": sorted({sample.domain for sample in samples if sample.labelled}),
        "stored_encoders": sorted({weights.encoder for weights in stored_weights()}),
    }


def _kept(loop: Loop) -> _Known | None:
    """What the last plan knew; None where there is none."""
    path = loop.root / layout.PLAN
    if not path.exists():
        return None
    return read(path, remedy=REMADE).json(_Known)
