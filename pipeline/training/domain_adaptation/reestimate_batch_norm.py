"""What of an adaptation comes after the last step: the statistics of batch norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.data.augment import normalise
from pipeline.data.dataset import ImageStore
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import say
from pipeline.training.domain_adaptation.batch_norm import (
    MOST_IMAGES,
    adapt_batch_norm,
    has_batch_norm,
)
from pipeline.training.method_setup import TrainingJob


def follow_in_batch_norm(job: TrainingJob, network: nn.Module) -> None:
    """Adapt the kept network in place by adapt.batch_norm, if it has any batch norm."""
    knobs = job.adaptation.params
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


def _images(job: TrainingJob, samples: Sequence[Sample], network: nn.Module) -> Tensor:
    """Of evenly spread samples, normalised, where the network is."""
    store = ImageStore(job.root, job.params.image, cache_mib=0)
    count = min(MOST_IMAGES, len(samples))
    chosen = [samples[place * len(samples) // count] for place in range(count)]
    images = torch.stack([store.image(sample) for sample in chosen])
    device = next(network.parameters()).device
    return normalise(images.to(device), job.params.model.normalisation)
