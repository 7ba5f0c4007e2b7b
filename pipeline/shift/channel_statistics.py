"""Per-layer distance between two domains: channel statistics of the input of each batch norm.

N images, B of them at once, C channels, L positions of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.shift.time_blocks import Runs

TINY = 1e-5  # added to variances, as batch norms do: channels that never speak do not count


class LayerMoments(NamedTuple):
    """Channel means and mean squares of one layer, per image."""

    mean_NC: Tensor
    square_NC: Tensor
    """Mean of the squares."""


class Watch:
    """Collector of channel means per image and layer, by layer name in the network's order."""

    def __init__(self) -> None:
        self._seen: dict[str, list[LayerMoments]] = {}

    def add(self, name: str, map_BC: Tensor) -> None:
        """Record one batch: channel means over each image's positions."""
        map_BCL = map_BC.detach().flatten(2) if map_BC.dim() > 2 else map_BC.detach()[..., None]
        moments = LayerMoments(map_BCL.mean(dim=2).cpu(), (map_BCL**2).mean(dim=2).cpu())
        self._seen.setdefault(name, []).append(moments)

    def moments(self) -> dict[str, LayerMoments]:
        """Channel statistics over all images recorded, by layer name."""
        return {
            name: LayerMoments(*(torch.cat(parts) for parts in zip(*found, strict=True)))
            for name, found in self._seen.items()
        }


@contextmanager
def watching(network: nn.Module) -> Iterator[Watch]:
    """Record the input of every batch norm; without any, the encoder's feature maps."""
    watch = Watch()
    norms = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    if norms:
        handles = [
            module.register_forward_pre_hook(lambda _, given, name=name: watch.add(name, given[0]))
            for name, module in norms
        ]
    else:
        encoder: Any = getattr(network, "encoder", network)
        handles = [encoder.register_forward_hook(lambda _, __, maps: _add_maps(watch, maps))]
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def layer_distances(
    one: Mapping[str, LayerMoments], other: Mapping[str, LayerMoments], run_N: Runs
) -> list[dict[str, Any]]:
    """JSON's values: `name`, `distance`, and `within`: between every other run of `one` and the
    rest, None where it has a single run. `run_N` is of the images of `one`."""
    even_N = torch.from_numpy(run_N % 2 == 0)
    return [
        {
            "name": name,
            "distance": round(_distance(moments, other[name]), 6),
            "within": None
            if bool(even_N.all())
            else round(_distance(_some(moments, even_N), _some(moments, ~even_N)), 6),
        }
        for name, moments in one.items()
        if name in other
    ]


def _distance(one: LayerMoments, other: LayerMoments) -> float:
    """Symmetrised Kullback-Leibler divergence of Gaussians, in nats; mean over the channels."""
    (mean_C, var_C), (other_mean_C, other_var_C) = _gaussian(one), _gaussian(other)
    apart_C = (mean_C - other_mean_C) ** 2
    forth_C = (var_C + apart_C) / other_var_C
    back_C = (other_var_C + apart_C) / var_C
    return float(((forth_C + back_C - 2) / 4).mean())


def _gaussian(moments: LayerMoments) -> tuple[Tensor, Tensor]:
    mean_C = moments.mean_NC.double().mean(dim=0)
    var_C = moments.square_NC.double().mean(dim=0) - mean_C**2
    return mean_C, var_C.clamp(min=0) + TINY


def _some(moments: LayerMoments, chosen_N: Tensor) -> LayerMoments:
    return LayerMoments(moments.mean_NC[chosen_N], moments.square_NC[chosen_N])


def _add_maps(watch: Watch, maps: list[Tensor]) -> None:
    for depth, map_BCHW in enumerate(maps[1:], start=1):  # the first is the image itself
        watch.add(f"feature map {depth}", map_BCHW)
