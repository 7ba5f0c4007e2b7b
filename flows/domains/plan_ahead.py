"""What the loop would train with the images it has and those that wait: the plan before a round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flows.domains.incoming import OPTIONS, incoming_folder, waiting_samples
from flows.rounds.round_plan import bring_weights, plan_for
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.config.params import PLANNED_KNOBS, DomainParams, Params, left_to_the_plan
from pipeline.errors import WorkspaceError
from pipeline.reading import AGAIN, read

if TYPE_CHECKING:
    from pipeline.planning.plan_rules import Profile
    from pipeline.planning.training_plan import TrainingPlan


def plan_ahead(
    workspace: Workspace,
    *,
    profile: Profile | None = None,
    every: bool = False,
    domain: str | None = None,
) -> TrainingPlan:
    """The plan for this machine; writes nothing. WorkspaceError where there is no image.

    `profile` None = as params.yaml says; `every` as if each knob stood at auto; `domain` None = the
    current one, else one that waits, as if it were taken in.
    """
    samples = [*workspace.manifest(), *waiting_samples(workspace.root)]
    if not samples:
        raise WorkspaceError(
            f"{workspace.root}: no image yet; `ssl-loop domain add NAME --images DIR` brings some"
        )
    params = workspace.params()
    if domain is not None:
        params = _as_taken_in(workspace.root, params, domain)
    bring_weights(params)
    free = frozenset(planned_here(workspace, every=every))
    return plan_for(workspace.root, params, samples, free, profile)


def planned_here(workspace: Workspace, *, every: bool = False) -> tuple[str, ...]:
    """What the plan may set: what stands at auto, or all that could."""
    return PLANNED_KNOBS if every else tuple(left_to_the_plan(workspace.root / layout.PARAMS))


def plan_on_arrival(root: Path, name: str, say: Callable[[str], None]) -> TrainingPlan | None:
    """The plan for a domain that was just brought and waits; None without one, which is said.

    There is none where a person set every knob; a failure or Ctrl-C stops nothing.
    """
    workspace = Workspace(root)
    try:
        if not planned_here(workspace):
            say("plan: every knob in params.yaml is yours; `ssl-loop plan` shows what they cost")
            return None
        say("plan: what the loop will train with these images (Ctrl-C leaves it out)")
        return plan_ahead(workspace, domain=name)
    except (Exception, KeyboardInterrupt) as error:
        why = "left out" if isinstance(error, KeyboardInterrupt) else f"not made: {error}"
        say(f"plan {why}. The domain {name} waits all the same; `ssl-loop plan` makes it later.")
        return None


def _as_taken_in(root: Path, params: Params, name: str) -> Params:
    """With the domain as the current one, and with what was said of it when it was brought."""
    file = incoming_folder(root, name) / OPTIONS
    said = read(file, remedy=AGAIN).json(dict[str, int]) if file.exists() else {}
    domains = {**params.domains, name: DomainParams(**said)}
    return params.model_copy(update={"domain": name, "domains": domains})
