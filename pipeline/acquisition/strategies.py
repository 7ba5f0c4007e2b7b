"""The table of strategies."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.acquisition.badge import badge
from pipeline.acquisition.clasp_pe import clasp_pe
from pipeline.acquisition.class_weighted_entropy import class_weighted_entropy
from pipeline.acquisition.cluster_margin import cluster_margin
from pipeline.acquisition.confident_errors import confident_errors
from pipeline.acquisition.domain_density import domain_density
from pipeline.acquisition.herding import herding
from pipeline.acquisition.k_center import k_center
from pipeline.acquisition.most_uncertain import most_uncertain
from pipeline.acquisition.pool import Choose
from pipeline.acquisition.power import power
from pipeline.acquisition.random import random
from pipeline.acquisition.stratified_random import stratified_random
from pipeline.acquisition.two_step import (
    clasp_k_center,
    class_weighted_k_center,
    entropy_k_center,
)
from pipeline.acquisition.typiclust import typiclust
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to choose."""

    choose: Choose
    needs: tuple[str, ...] = ()
    """What the pool must hold: a score's name, `by_class`, `gradients` or `labelled`."""

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores among its needs."""
        return tuple(name for name in self.needs if name in SCORES)


SCORES = ("entropy", "margin", "least_confidence", "bald", "disagreement", "instability")

STRATEGIES: dict[str, Strategy] = {
    "badge": Strategy(choose=badge, needs=("gradients",)),
    "bald": Strategy(choose=most_uncertain("bald"), needs=("bald",)),
    "clasp_k_center": Strategy(choose=clasp_k_center, needs=("by_class",)),
    "clasp_pe": Strategy(choose=clasp_pe, needs=("by_class",)),
    "class_weighted_entropy": Strategy(choose=class_weighted_entropy, needs=("by_class",)),
    "class_weighted_k_center": Strategy(choose=class_weighted_k_center, needs=("by_class",)),
    "cluster_margin": Strategy(choose=cluster_margin, needs=("margin",)),
    "confident_errors": Strategy(choose=confident_errors, needs=("entropy", "labelled")),
    "disagreement": Strategy(choose=most_uncertain("disagreement"), needs=("disagreement",)),
    "domain_density": Strategy(choose=domain_density, needs=("entropy",)),
    "entropy": Strategy(choose=most_uncertain("entropy"), needs=("entropy",)),
    "entropy_k_center": Strategy(choose=entropy_k_center, needs=("entropy",)),
    "herding": Strategy(choose=herding, needs=("labelled",)),
    "k_center": Strategy(choose=k_center, needs=("labelled",)),
    "margin": Strategy(choose=most_uncertain("margin"), needs=("margin",)),
    "power_bald": Strategy(choose=power("bald"), needs=("bald",)),
    "random": Strategy(choose=random),
    "st_reliability": Strategy(choose=most_uncertain("instability"), needs=("instability",)),
    "stratified_random": Strategy(choose=stratified_random, needs=("by_class",)),
    "typiclust": Strategy(choose=typiclust, needs=("labelled",)),
}

DEFAULT = "default"
# By acquire.query_unit, chosen on val (docs/backtest.md): whole images that are spread as the pool
# is; of regions the uncertain ones, far apart.
DEFAULTS = {"image": "herding", "region": "entropy_k_center", "correction": "herding"}


def resolved(name: str, query_unit: str) -> str:
    """The row of STRATEGIES that a name in params stands for: itself, or the unit's default."""
    return DEFAULTS[query_unit] if name == DEFAULT else name


def strategy(name: str) -> Strategy:
    """The row of STRATEGIES; ConfigError lists the known names."""
    if name not in STRATEGIES:
        known = [DEFAULT, *sorted(STRATEGIES)]
        raise ConfigError(f"acquire.strategy = {name!r}: unknown; known here: {', '.join(known)}")
    return STRATEGIES[name]
