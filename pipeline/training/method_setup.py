"""What to train on what, and the method set up for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.config.params import Params
from pipeline.data.augment import denormalise, normalise, strong_view
from pipeline.data.dataset import ImageStore
from pipeline.methods import Method, MethodSetup, build_method
from pipeline.models import build_model
from pipeline.models.probe import Probe
from pipeline.records.manifest import Sample
from pipeline.runtime.progress import say
from pipeline.training.batches import INITIAL_WEIGHTS, WholeSet, derive_seed
from pipeline.training.class_balance import class_weights
from pipeline.training.domain_adaptation.class_mix import CrossDomainMix
from pipeline.training.domain_adaptation.enabled import Adaptation
from pipeline.training.domain_adaptation.masked_consistency import MaskedConsistency
from pipeline.training.probes.probe_components import fit_components
from pipeline.training.supervised_loss import build_labelled_loss


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train on what."""

    root: Path
    stage: str
    params: Params
    """As enabled: what they say is done."""
    labelled: tuple[Sample, ...]
    unlabelled: tuple[Sample, ...]
    monitored: tuple[Sample, ...] = ()
    """Labelled val images to look at from time to time; they teach nothing."""
    keep_snapshots: bool = False
    """Whether `Trained.beside` is wanted."""
    adaptation: Adaptation = field(default_factory=Adaptation)
    judged: tuple[Sample, ...] = ()
    """Labelled val images that decide between a network and a probe (model.contender)."""
    described: tuple[Sample, ...] = ()
    """Images of the pool that the components of a probe's features are taken from."""
    initial: Mapping[str, Tensor] | None = None
    """Weights that the first network starts from; None = as `build_model` initialises it."""


def new_method(job: TrainingJob, store: ImageStore, device: torch.device) -> Method:
    """The method with its networks, as they are before the first step."""
    params = job.params
    weights_K = class_weights(store, job.labelled, params)

    def new_network(number: int) -> nn.Module:
        torch.manual_seed(derive_seed(params.train.seed, INITIAL_WEIGHTS, number))
        network = build_model(params.model, params.num_classes)
        if isinstance(network, Probe):
            fit_components(network, job.root, params, job.described)
        # A second network has to be another than the first, or they teach each other nothing.
        if job.initial is not None and number == 0:
            network.load_state_dict(job.initial)
        return network

    setup = MethodSetup(
        params=params.method,
        num_classes=params.num_classes,
        num_steps=params.train.steps,
        new_network=new_network,
        labelled_loss=build_labelled_loss(params.train, weights_K),
        unlabelled=WholeSet(store=store, params=params, samples=job.unlabelled, device=device),
        cross_domain=_cross_domain(job),
        masked=_masked(job),
    )
    method = build_method(params.method.name, setup)
    at_shift = {"cross_domain_mix": setup.cross_domain, "masked_consistency": setup.masked}
    for knob in [knob for knob, term in at_shift.items() if term]:
        if method.learner() is None:
            say(
                f"{job.stage}: adapt.{knob}: {params.method.name} has no teacher to say what "
                "is on an unlabelled image; the rest of adapt applies"
            )
    return method


def _masked(job: TrainingJob) -> MaskedConsistency | None:
    adapt = job.params.adapt
    if not adapt.masked_consistency:
        return None
    return MaskedConsistency(
        confidence_threshold=job.params.method.confidence_threshold,
        ratio=adapt.mask_ratio,
        patch_px=adapt.mask_patch_px,
        target_N=torch.tensor([job.adaptation.is_target(s) for s in job.unlabelled]),
    )


def _cross_domain(job: TrainingJob) -> CrossDomainMix | None:
    if not job.params.adapt.cross_domain_mix:
        return None
    method, normalisation = job.params.method, job.params.model.normalisation

    def recoloured(images_BCHW: Tensor) -> Tensor:
        if not method.strong_colour:
            return images_BCHW
        # Drawn from torch's global generator, which the loop seeds at every step.
        views = strong_view(denormalise(images_BCHW, normalisation), torch.default_generator)
        return normalise(views, normalisation)

    return CrossDomainMix(
        num_classes=job.params.num_classes,
        confidence_threshold=method.confidence_threshold,
        target_N=torch.tensor([job.adaptation.is_target(s) for s in job.unlabelled]),
        recoloured=recoloured,
    )
