"""Whether a campaign that had ended goes on: its last round asked for nothing, and now would."""

from __future__ import annotations

from typing import Any

from db.session import session_scope
from flows.loop import Loop
from flows.rounds.open_questions import open_questions
from flows.workspace.dvc.dvc_files import DVC_LOCK, locked_stages
from flows.workspace.position import Position
from flows.workspace.workspace import Workspace
from pipeline import layout
from pipeline.campaign.spending import Spending, spending
from pipeline.config.params import Params


def would_ask(loop: Loop, here: Position) -> bool:
    """Whether there is something to ask at HEAD, by params.yaml as it is, that the computed round
    `here`, which asks for nothing, could not ask for.

    A larger budget, none any more, or images that were let in: of a round that asked for nothing
    for another reason nothing follows, so that no round is computed for ever.
    """
    params = loop.read_params()
    now = spending(loop.workspace.manifest_at("HEAD"), params, here.domain)
    return now.may_ask and not _then(loop.workspace, params, here).may_ask


def answers_came(loop: Loop, here: Position) -> bool:
    """Whether nothing of what the rounds before `here` left open, as merged, is open any more.

    A campaign's end so has all its answers in the models, as far as people gave them.
    """
    manifest = loop.workspace.manifest_at("HEAD")
    if not any(sample.asked for sample in manifest if sample.domain == here.domain):
        return False
    with session_scope(loop.ledger, read_only=True) as session:
        return not open_questions(session, here.domain)


def _then(workspace: Workspace, params: Params, here: Position) -> Spending:
    """As the stage `acquire` found it: with the budget that dvc.lock says, since people may edit
    params.yaml between that stage and the round's commit."""
    stages = locked_stages(workspace.file_at(here.tag, DVC_LOCK))
    read: dict[str, Any] = stages.get("acquire", {}).get("params", {}).get(str(layout.PARAMS), {})
    own = ((read.get("domains") or {}).get(here.domain) or {}).get("budget")
    with_own = params.domains[here.domain].model_copy(update={"budget": own})
    then = params.with_knobs(loop={"budget": read.get("loop.budget")}).model_copy(
        update={"domains": params.domains | {here.domain: with_own}}
    )
    return spending(workspace.manifest_at(here.tag), then, here.domain)
