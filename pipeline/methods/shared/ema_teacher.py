"""The teacher: the moving average of a student (Tarvainen & Valpola 2017)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """Weights and batch-norm statistics averaged over the student's; no gradient, always eval."""

    def __init__(self, student: nn.Module, decay: float) -> None:
        """Starts as a copy of `student`."""
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False).eval()
        self.decay = decay

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode: unlabelled weak views must not enter the batch-norm statistics."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits without gradient."""
        return self.network(images_BCHW)

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """theta' <- a theta' + (1 - a) theta with a = min(1 - 1/(step+1), decay).

        Thus after step 0 the teacher equals the student. Buffers of integers are copied: an
        average of counters means nothing.
        """
        keep = min(1.0 - 1.0 / (step + 1), self.decay)
        pairs = list(zip(_tensors(self.network), _tensors(student), strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([own for own, _ in averaged], [new for _, new in averaged], 1.0 - keep)
        for own, new in pairs:
            if not own.is_floating_point():
                own.copy_(new)

    @torch.no_grad()
    def restart(self, student: nn.Module) -> None:
        """Become a copy of `student` again."""
        for own, new in zip(_tensors(self.network), _tensors(student), strict=True):
            own.copy_(new)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
