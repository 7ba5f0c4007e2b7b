"""What encoders of a round begin from, where `params.yaml` leaves it to us (`auto`).

The loop writes what it chose into params.yaml, by hash. So DVC runs again what depends on it, the
round's tag keeps it, and a restored workspace begins from the same weights or from none.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.loop import Loop
from pipeline.config.network import AUTO_RANDOM
from pipeline.config.params import EmbedParams, ModelParams, Params
from pipeline.config.planned import AUTO
from pipeline.runtime.torch_settings import settle_torch
from pipeline.runtime.weights_folder import weights_warning


def choose_weights(loop: Loop) -> None:
    """Write into params.yaml what each `auto` stands for in this round, and say it.

    Weights that were chosen stay; random ones give way as soon as there are others.
    """
    params = loop.read_params()
    changes = {}
    for block, knobs in _blocks(params):
        given = knobs.encoder_weights
        if given not in (AUTO, AUTO_RANDOM):
            continue
        chosen = _chosen(knobs.encoder)
        if chosen != given:
            changes[block] = {"encoder_weights": chosen}
            loop.log(f"{block}.encoder_weights: {given} stands for {chosen} from this round on")
    if changes:
        params = loop.workspace.write_params(changes)
    for warning in weights_warnings(params):
        loop.log(f"WARNING: {warning}")


def weights_warnings(params: Params) -> list[str]:
    """What status, report and doctor say while an `auto` has no weights, or has lost them."""
    found = (
        (block, weights_warning(knobs.encoder, knobs.encoder_weights))
        for block, knobs in _blocks(params)
    )
    return [f"{block}.encoder_weights: auto: {said}" for block, said in found if said]


def _blocks(params: Params) -> Iterator[tuple[str, ModelParams | EmbedParams]]:
    yield "model", params.model
    yield "embed", params.embed


def _chosen(encoder: str) -> str:
    settle_torch()
    from pipeline.models.weights import chosen_weights

    return chosen_weights(encoder)
