"""AdaBN: batch-norm statistics of the current domain, or mixed with those of the source.

B images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.data.augment import middle_view, normalise
from pipeline.data.dataset import ImageStore
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import say
from pipeline.training.method_setup import TrainingJob

MOST_IMAGES = 32
"""Of each domain: all go through the network at once, and more change the statistics little."""

BatchNorm = nn.modules.batchnorm._BatchNorm


class Moments(NamedTuple):
    """Mean and variance of every channel."""

    mean_C: Tensor
    variance_C: Tensor


def follow_in_batch_norm(job: TrainingJob, network: nn.Module) -> None:
    """Adapt the kept network in place by adapt.batch_norm, if it has any batch norm."""
    knobs = job.params.adapt
    if knobs.batch_norm == "none":
        return
    if not has_batch_norm(network):
        say(
            f"{job.stage}: adapt.batch_norm: {job.params.model.name} with "
            f"{job.params.model.encoder} has no batch norm; the rest of adapt applies"
        )
        return
    source = [sample for sample in job.labelled if not job.adaptation.is_target(sample)]
    adapt_batch_norm(
        network,
        _images(job, source, network),
        _images(job, job.adaptation.target, network),
        prior=knobs.batch_norm_prior if knobs.batch_norm == "mixed" else 0.0,
    )


def has_batch_norm(network: nn.Module) -> bool:
    """Whether the network has batch norms."""
    return any(True for _ in _batch_norms(network))


@torch.no_grad()
def adapt_batch_norm(
    network: nn.Module, source_BCHW: Tensor, target_BCHW: Tensor, *, prior: float
) -> None:
    """Give every batch norm of `network` the statistics of the target, mixed with the source's.

    Normalised images; `prior` is N, 0 for AdaBN (Li et al. 2017). Layer after layer, so that a
    layer sees what the adapted ones before it give. `network` is changed and left in eval mode.
    """
    network.eval()
    seen = _moments_of(network, source_BCHW)

    def adapt(layer: BatchNorm, features_BCHW: Tensor) -> None:
        target = mixed(seen[layer], moments(features_BCHW), prior=prior, count=len(target_BCHW))
        own = Moments(_buffer(layer.running_mean), _buffer(layer.running_var))
        adapted = carried_over(own, seen[layer], target)
        _buffer(layer.running_mean).copy_(adapted.mean_C)
        _buffer(layer.running_var).copy_(adapted.variance_C)

    with _before_batch_norms(network, adapt):
        network(target_BCHW)


def moments(features_BCHW: Tensor) -> Moments:
    """Channel statistics over images and positions, with the biased variance that training uses."""
    variance_C, mean_C = torch.var_mean(features_BCHW.float(), dim=(0, 2, 3), correction=0)
    return Moments(mean_C, variance_C)


def mixed(source: Moments, target: Moments, *, prior: float, count: int) -> Moments:
    """(N source + n target) / (N + n), of means and of variances (Schneider et al. 2020, eq. 3)."""
    share = count / (prior + count)
    return Moments(*(s + share * (t - s) for s, t in zip(source, target, strict=True)))


def carried_over(own: Moments, source: Moments, target: Moments) -> Moments:
    """Statistics under which the target's features look as the source's do under `own`.

    `target` itself where `own` are the source's moments, as in the papers. Frozen statistics and
    those of augmented images are not: the network has learnt with them all the same, and so only
    what differs between the domains is carried over.
    """
    floor = torch.finfo(torch.float32).tiny
    ratio_C = target.variance_C.clamp(min=floor) / source.variance_C.clamp(min=floor)
    # A channel that says nothing in one of the domains has no scale to carry over.
    silent_C = (source.variance_C <= floor) | (target.variance_C <= floor)
    ratio_C = ratio_C.masked_fill(silent_C, 1.0)
    mean_C = target.mean_C - (source.mean_C - own.mean_C) * ratio_C.sqrt()
    return Moments(mean_C, own.variance_C * ratio_C)


def _moments_of(network: nn.Module, images_BCHW: Tensor) -> dict[nn.Module, Moments]:
    found: dict[nn.Module, Moments] = {}

    def note(layer: BatchNorm, features_BCHW: Tensor) -> None:
        found[layer] = moments(features_BCHW)

    with _before_batch_norms(network, note):
        network(images_BCHW)
    return found


@contextmanager
def _before_batch_norms(
    network: nn.Module, act: Callable[[BatchNorm, Tensor], None]
) -> Iterator[None]:
    def hook(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        act(layer, inputs[0])

    hooks = [layer.register_forward_pre_hook(hook) for layer in _batch_norms(network)]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _batch_norms(network: nn.Module) -> Iterator[BatchNorm]:
    for module in network.modules():
        if isinstance(module, BatchNorm) and module.track_running_stats:
            yield module


def _buffer(statistics: Tensor | None) -> Tensor:
    assert statistics is not None  # _batch_norms yields no other
    return statistics


def _images(job: TrainingJob, samples: Sequence[Sample], network: nn.Module) -> Tensor:
    """The middles of evenly spread samples, normalised, where the network is."""
    store = ImageStore(job.root, job.params.image, 0, job.params.train.decoded_gib)
    count = min(MOST_IMAGES, len(samples))
    chosen = [samples[place * len(samples) // count] for place in range(count)]
    images = torch.stack([middle_view(store.image(each), store.crop_size) for each in chosen])
    device = next(network.parameters()).device
    return normalise(images.to(device), job.params.model.normalisation)
