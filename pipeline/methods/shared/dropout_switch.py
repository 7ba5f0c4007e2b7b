"""Switching what is random in a network off, or on, for a few passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pipeline.methods.shared.protocol import Network


@contextmanager
def steady(network: nn.Module) -> Iterator[None]:
    """Within it a pass drops nothing and leaves no trace in the batch-norm statistics."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    dropouts = [m for m in network.modules() if isinstance(m, _DropoutNd) and m.training]
    for norm in norms:
        norm.track_running_stats = False  # a norm in eval mode keeps to its statistics all the same
    for dropout in dropouts:
        dropout.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for dropout in dropouts:
            dropout.training = True


@contextmanager
def with_dropout(network: nn.Module) -> Iterator[None]:
    """Within it dropout drops, also in a network in eval mode (Monte Carlo dropout)."""
    dropouts = [m for m in network.modules() if isinstance(m, _DropoutNd) and not m.training]
    for dropout in dropouts:
        dropout.training = True
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout.training = False


def has_dropout(network: nn.Module) -> bool:
    """Whether anything in it would drop."""
    return any(isinstance(m, _DropoutNd) and m.p > 0 for m in network.modules())


def steady_decode(network: Network) -> Callable[[list[Tensor]], Tensor]:
    """`network.decode`, steady."""

    def decode(features: list[Tensor]) -> Tensor:
        with steady(cast(nn.Module, network)):
            return network.decode(features)

    return decode
