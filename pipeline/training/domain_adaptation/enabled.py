"""Which options of params.yaml apply to a training, decided once; all others are off."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.params import NO_ADAPTATION, AdaptParams, Params
from pipeline.records.manifest import Sample


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """The target domain of a training and its images; empty where no option of `adapt` applies."""

    domain: str = ""
    """The current one: the target. All others are the source."""
    target: tuple[Sample, ...] = ()
    """Images of the target in use; their masks are not read."""

    def facts(self, params: AdaptParams) -> dict[str, Any]:
        """The values that a training's result depends on, for JSON; `params` as enabled."""
        images = [sample.image_sha256 for sample in self.target]
        digest = hashlib.sha256(" ".join(images).encode()).hexdigest()
        return {
            **params.model_dump(mode="json"),
            "domain": self.domain,
            "images_sha256": digest,
        }

    def is_target(self, sample: Sample) -> bool:
        """Whether a sample is of the current domain."""
        return sample.domain == self.domain


def adaptation_in_force(params: Params, samples: Sequence[Sample]) -> Adaptation:
    """To the current domain, after a shift; else none.

    After a shift: another domain than the current one has labelled images, and the current one has
    images in use.
    """
    source = [s for s in samples if s.labelled and s.domain != params.domain]
    target = tuple(s for s in samples if s.domain == params.domain and (s.labelled or s.unlabelled))
    if not source or not target or _asks_for_nothing(params.adapt):
        return Adaptation()
    return Adaptation(domain=str(params.domain), target=target)


def enabled(params: Params, adaptation: Adaptation, *, method_name: str, warm: bool) -> Params:
    """`params` as a training follows them, and hands them on to the method unchanged.

    `adapt` is NO_ADAPTATION without an adaptation, and its `cross_domain_mix` is decided; `warm`,
    for one that starts from the last teacher, gives steps and rates.
    """
    adapt: dict[str, Any] = {}
    if not adaptation.domain:
        adapt = NO_ADAPTATION.model_dump()
    elif params.adapt.cross_domain_mix == "until_labelled":
        adapt = {"cross_domain_mix": not any(sample.labelled for sample in adaptation.target)}
    return params.with_method(method_name).with_knobs(
        adapt=adapt, train=_of_warm_start(params) if warm else {}
    )


def _of_warm_start(params: Params) -> dict[str, Any]:
    """Steps and rates of a training that starts from the last teacher."""
    train, adapt = params.train, params.adapt
    return {
        "steps": adapt.warm_start_steps or train.steps,
        "learning_rate": train.learning_rate * adapt.warm_start_rate,
        "encoder_learning_rate": train.encoder_learning_rate * adapt.warm_start_rate,
    }


def _asks_for_nothing(params: AdaptParams) -> bool:
    """Whether every option is off; the numbers of options that are off do not count."""
    idle = {"batch_norm_prior", "mask_ratio", "mask_patch_px", "warm_start_steps"}
    idle |= {"warm_start_rate", "warm_start_share"}
    return params.model_dump(exclude=idle) == NO_ADAPTATION.model_dump(exclude=idle)
