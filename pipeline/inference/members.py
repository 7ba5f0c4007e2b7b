"""Who is asked beside a network as it is: `predict.members` in params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from pipeline.config.params import Members
from pipeline.errors import ModelError
from pipeline.inference.logits import dropout, flips
from pipeline.inference.tiles import View


def more_members(
    kind: Members, network: nn.Module, snapshots: Sequence[nn.Module], where: str
) -> list[View]:
    """The views whose mean with the network's own is the prediction; none for `none`.

    ModelError where snapshots are asked for and the model's folder `where` has none; ConfigError
    where the network has no dropout to draw.
    """
    if kind == "snapshots" and not snapshots:
        raise ModelError(
            f"{where}: no snapshots beside the teacher, which predict.members asks for; "
            "`dvc repro --force train_teacher` with train.keep_snapshots: true"
        )
    made: dict[Members, Callable[[], list[View]]] = {
        "none": lambda: [],
        "flips": lambda: flips(network),
        "dropout": lambda: dropout(network),
        "snapshots": lambda: [*snapshots],
    }
    return made[kind]()
