"""The network that a training keeps, as it was on the way: for who compares it with its end."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.methods.shared.protocol import phase_length

NUM_SNAPSHOTS = 2  # as ST++ has them, at 1/3 and 2/3

Weights = dict[str, Tensor]


class Snapshots:
    """Weights on the CPU after 1/3 and 2/3 of the steps; of a method in phases, of its last."""

    def __init__(self, num_steps: int, num_phases: int, kept: list[Weights]) -> None:
        """`kept` of an earlier part of the same training."""
        first = (num_phases - 1) * phase_length(num_steps, num_phases)
        parts = NUM_SNAPSHOTS + 1
        self.kept = kept
        self._steps = {
            first + round(part * (num_steps - first) / parts) for part in range(1, parts)
        }

    def take(self, network: nn.Module, done: int) -> None:
        """Keep `network` if it is time to, after `done` steps."""
        if done in self._steps:
            self.kept.append(_weights_of(network))

    def beside(self, learner: nn.Module | None) -> dict[str, Weights]:
        """`snapshot_1` and so on, earliest first; and `student`, if there is one."""
        student = {} if learner is None else {"student": _weights_of(learner)}
        return student | {f"snapshot_{at}": kept for at, kept in enumerate(self.kept, start=1)}


def _weights_of(network: nn.Module) -> Weights:
    """A copy on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
