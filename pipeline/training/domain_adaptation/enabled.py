"""Which knobs of `adapt` a training can follow: those that its samples leave something to do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.params import NO_ADAPTATION, AdaptParams, Params
from pipeline.records.manifest import Sample


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """From which domains to which, and how."""

    params: AdaptParams = NO_ADAPTATION
    """With `cross_domain_mix` decided."""
    domain: str = ""
    """The current one: the target. All others are the source."""
    target: tuple[Sample, ...] = ()
    """Its images in use, for their looks; their masks are not read."""

    def facts(self) -> dict[str, Any]:
        """What of it decides a training's result, as JSON's values."""
        images = [sample.image_sha256 for sample in self.target]
        digest = hashlib.sha256(" ".join(images).encode()).hexdigest()
        return {
            **self.params.model_dump(mode="json"),
            "domain": self.domain,
            "images_sha256": digest,
        }

    def is_target(self, sample: Sample) -> bool:
        """Whether a sample is of the current domain."""
        return sample.domain == self.domain


def adaptation_in_force(params: Params, samples: Sequence[Sample]) -> Adaptation:
    """By `adapt` of params.yaml, after a shift; else none of it.

    After a shift: another domain than the current one has labelled images, and the current one has
    images in use.
    """
    source = [s for s in samples if s.labelled and s.domain != params.domain]
    target = tuple(s for s in samples if s.domain == params.domain and (s.labelled or s.unlabelled))
    if not source or not target or _asks_for_nothing(params.adapt):
        return Adaptation()
    mix = params.adapt.cross_domain_mix
    if mix == "until_labelled":
        mix = not any(sample.labelled for sample in target)
    decided = params.adapt.model_copy(update={"cross_domain_mix": mix})
    return Adaptation(params=decided, domain=str(params.domain), target=target)


def _asks_for_nothing(params: AdaptParams) -> bool:
    """Numbers of knobs that are off say nothing."""
    idle = {"batch_norm_prior", "warm_start_steps", "warm_start_rate", "warm_start_share"}
    return params.model_dump(exclude=idle) == NO_ADAPTATION.model_dump(exclude=idle)
