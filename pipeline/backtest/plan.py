"""Plan of a backtest: strategies, start sets, seeds, budgets, names of replays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import pipeline
from pipeline.acquisition import DEFAULT, resolved, strategy
from pipeline.campaign.acts import Acts
from pipeline.config.params import AcquireParams
from pipeline.errors import ConfigError

Unit = Literal["image", "region", "correction"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Strategies that share start sets, seeds and budgets."""

    strategies: tuple[str, ...]
    """Rows of STRATEGIES, or `default`."""
    start: int
    """Images labelled before the first query, drawn uniformly, the same for every strategy."""
    rounds: int
    """Queries answered."""
    query_size: int
    """Images per query, or regions; of corrections the images in which they are made."""
    seeds: int
    region_px: int | None = None
    """Side of the regions that are asked for, in pixels of the images at the network's size;
    None: whole images are."""
    corrections: int | None = None
    """Wrong areas that people correct in an image, at most; None: images and regions are painted
    whole."""

    @property
    def unit(self) -> Unit:
        """What people are asked for."""
        if self.corrections is not None:
            return "correction"
        return "image" if self.region_px is None else "region"

    def check(self, num_pool: int, num_windows: int = 1) -> None:
        """ConfigError unless the pool can answer all of the plan and all strategies exist."""
        for name in self.strategies:
            if name != DEFAULT:
                strategy(name)
        if len(set(self.strategies)) != len(self.strategies):
            raise ConfigError(f"strategies {', '.join(self.strategies)}: one is named twice")
        what = "images" if self.region_px is None else "regions"
        asked, there = self.rounds * self.query_size, (num_pool - self.start) * num_windows
        if self.start > num_pool or asked > there:
            raise ConfigError(
                f"{self.start} images to start and {self.rounds} queries of {self.query_size} "
                f"{what}: the pool has {num_pool} images, which leaves {max(0, there)} {what} to "
                "ask for; lower --start, --rounds or --query-size"
            )

    def labels(self, num_pool: int, num_windows: int = 1) -> list[int] | list[float]:
        """Labels before each query and after the last, a curve's axis: images, or % of pixels.

        Corrections count the images in which they were made. Regions are taken to be equally large.
        """
        places = range(self.rounds + 1)
        if self.unit != "region":
            return [self.start + place * self.query_size for place in places]
        asked = [self.start * num_windows + place * self.query_size for place in places]
        return [round(100 * each / (num_pool * num_windows), 4) for each in asked]

    def all_labels(self, num_pool: int) -> Plan:
        """The plan for the ceiling: every mask from the start, and no query."""
        return Plan(
            strategies=("random",), start=num_pool, rounds=0, query_size=1, seeds=self.seeds
        )

    def start_set(self, num_pool: int, acquire: AcquireParams, seed: int) -> NDArray[np.intp]:
        """Rows of the pool that a seed starts from."""
        rng = np.random.default_rng([acquire.seed, seed])
        return rng.choice(num_pool, size=self.start, replace=False)

    def strategy_of(self, name: str, acquire: AcquireParams) -> str:
        """The row of STRATEGIES that a strategy of the plan stands for."""
        said = acquire.strategy if name == DEFAULT else name
        return resolved(said, self.unit)

    def replay_name(self, name: str, acquire: AcquireParams, facts: list[Any]) -> str:
        """File name of a replay: the strategy, and a hash of the plan and of `facts`."""
        chosen = self.strategy_of(name, acquire)
        shape = asdict(self) | {"strategies": None, "seeds": None}
        knobs = acquire.model_dump(exclude={"strategy"})
        text = json.dumps([pipeline.__version__, knobs, shape, chosen, facts], sort_keys=True)
        return f"{chosen}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def training_seed(seed: int, place: int) -> int:
    """Seed of the training after `place` queries: the same for all strategies, so paired."""
    return 1000 * seed + place


@dataclass(frozen=True, kw_only=True)
class Point:
    """One round of a replay, after its training."""

    miou: float
    share: float
    """Of the pool's pixels that people labelled so far."""
    acts: Acts
    """What they did for that."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of a plan's replays."""

    curves: dict[str, list[list[float]]]
    """mIoU per strategy, seed and round."""
    labels: list[int] | list[float]
    """Labels at each point of a curve."""
    full_supervision: float
    """mIoU with the masks of the whole pool, mean over the seeds."""
    model: str
    """The model that was trained, in words."""
    points: dict[str, list[list[Point]]] | None = None
    """Per strategy, seed and round; None where nobody counted acts."""
