"""A probe beside the network of params.yaml: which of the two is better on val is kept.

Neither wins always: with few labels and minutes frozen features mostly do, on images unlike those
that the encoder was trained on a network that learns does. N images, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from pipeline.data.formats.images import image_size
from pipeline.inference.logits import logits_and_masks
from pipeline.metrics.per_image import Areas, Judged, drop_interval, mious
from pipeline.models import LoadedModel
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import say
from pipeline.training.domain_adaptation.enabled import Adaptation
from pipeline.training.method_setup import TrainingJob
from pipeline.training.monitor import spread
from pipeline.training.probes.probe_choice import PROBE, probe_params
from pipeline.training.probes.probe_training import trains_on_features

MOST_JUDGED = 64  # val images: an interval over more is hardly narrower than what a seed changes


class Contest(NamedTuple):
    """What came out."""

    kept: str
    """Of the two names."""
    name: str
    """Of the network that was challenged."""
    miou: float
    """Of that network, on the judged images."""
    miou_probe: float
    gain_interval: tuple[float, float] | None
    """95 % of what the probe gains, images resampled; None with too few."""
    num_images: int

    def facts(self) -> dict[str, Any]:
        """For metrics and report."""
        return self._asdict()


def has_contender(job: TrainingJob) -> bool:
    """Whether a probe is to be trained beside the network, and there is something to judge by.

    Not where the student or snapshots are kept: what asks for them asks for one training's.
    """
    if job.params.model.contender == "none" or trains_on_features(job) or job.keep_snapshots:
        return False
    if not job.judged:
        say(f"{job.stage}: model.contender: no val image has a mask yet; the network stands alone")
    return bool(job.judged)


def contender_of(job: TrainingJob) -> TrainingJob:
    """The same labels for a probe."""
    params = probe_params(job.params, image_size(job.root / job.labelled[0].image))
    return replace(job, params=params, unlabelled=(), adaptation=Adaptation(), initial=None)


def contest(job: TrainingJob, network: LoadedModel, probe: LoadedModel) -> Contest:
    """Judge both on `job.judged`; the probe is kept where its mIoU is above."""
    both = [_judged(job, model) for model in (network, probe)]
    miou, miou_probe = (round(_miou(areas), 6) for _, areas in both)
    found = Contest(
        kept=PROBE if miou_probe > miou else job.params.model.name,
        name=job.params.model.name,
        miou=miou,
        miou_probe=miou_probe,
        gain_interval=drop_interval(both[1], both[0]),
        num_images=len(both[0][0]),
    )
    say(f"{job.stage}: {sentence(found.facts())}")
    return found


def sentence(facts: dict[str, Any]) -> str:
    """What `Contest.facts` say."""
    interval = facts["gain_interval"]
    gain = "" if interval is None else f" (gain {interval[0]:+.3f} to {interval[1]:+.3f})"
    return (
        f"on {facts['num_images']} val images {facts['name']} has mIoU {facts['miou']:.3f}, a "
        f"probe of the same labels {facts['miou_probe']:.3f}{gain}; {facts['kept']} is kept"
    )


def judges(samples: Sequence[Sample], domain: str | None) -> tuple[Sample, ...]:
    """Val images with masks, evenly spread: of the current domain if it has any, else of all."""
    masked = [sample for sample in samples if sample.split == "val" and sample.mask]
    own = [sample for sample in masked if sample.domain == domain]
    return spread(own or masked, MOST_JUDGED)


def _judged(job: TrainingJob, model: LoadedModel) -> Judged:
    label = f"contest, {model.config['model']['name']}"
    counts = [
        found.confusion(job.params.num_classes)
        for found in logits_and_masks(job.root, model, job.judged, job.params, label)
    ]
    areas = Areas.of_counts(torch.stack(counts).double().numpy())
    return [sample.sample_id for sample in job.judged], areas


def _miou(areas: Areas) -> float:
    return float(mious(areas, np.ones((1, len(areas.hits_NK))))[0])
