"""Strategies compared on cached features: paired seeds, shared start sets, a small head.

N candidates, M labelled, K classes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import nn

import pipeline
from pipeline.acquisition import STRATEGIES, strategy
from pipeline.acquisition.pool import ByClass, Pool
from pipeline.backtest import head
from pipeline.backtest.features import Features
from pipeline.backtest.labelled_set import LabelledSet
from pipeline.config import AcquireParams
from pipeline.errors import ConfigError
from pipeline.files import write_json
from pipeline.progress import Progress
from pipeline.threads import usable_processors
from pipeline.types import IGNORE

DEFAULT = "default"  # as a strategy's name: the one that acquire.strategy says


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared."""

    strategies: tuple[str, ...]
    """Rows of STRATEGIES, or `default`."""
    start: int
    """Images labelled before the first query, drawn uniformly, the same for every strategy."""
    rounds: int
    """Queries answered."""
    query_size: int
    seeds: int

    @property
    def labels(self) -> list[int]:
        """Labelled images before each query and after the last."""
        return [self.start + place * self.query_size for place in range(self.rounds + 1)]


def check(plan: Plan, num_pool: int) -> None:
    """ConfigError unless the pool can answer all of the plan and all strategies exist."""
    for name in plan.strategies:
        if name != DEFAULT:
            strategy(name)
    if len(set(plan.strategies)) != len(plan.strategies):
        raise ConfigError(f"strategies {', '.join(plan.strategies)}: one is named twice")
    if plan.labels[-1] > num_pool:
        raise ConfigError(
            f"{plan.start} to start and {plan.rounds} queries of {plan.query_size} are "
            f"{plan.labels[-1]} images; the pool has {num_pool}: lower --rounds or --query-size"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What every replay works on."""

    data: LabelledSet
    pool: Features
    scored: Features
    acquire: AcquireParams
    head_steps: int = head.STEPS

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.data.classes)

    def full_supervision(self, seeds: int) -> float:
        """mIoU with the masks of the whole pool, mean over the seeds."""
        everything = np.arange(len(self.data.pool))
        found = Parallel(n_jobs=usable_processors())(
            delayed(_ceiling)(self, everything, seed) for seed in range(seeds)
        )
        return float(np.mean(found))

    def replay(self, name: str, plan: Plan, seed: int) -> list[float]:
        """mIoU at each of `plan.labels`."""
        labelled = self.start_set(plan, seed)
        found = []
        for place in range(plan.rounds + 1):
            network, value = self.miou(labelled, seed, place)
            found.append(value)
            if place < plan.rounds:
                asked = self._ask(network, name, plan, labelled, seed)
                labelled = np.concatenate([labelled, asked])
        return found

    def start_set(self, plan: Plan, seed: int) -> NDArray[np.intp]:
        """Rows of the pool that a seed starts from."""
        rng = np.random.default_rng([self.acquire.seed, seed])
        return rng.choice(len(self.data.pool), size=plan.start, replace=False)

    def miou(self, labelled: NDArray[np.intp], seed: int, place: int) -> tuple[nn.Module, float]:
        """A head trained on these rows of the pool, and its mIoU; `place` counts the rounds."""
        rows = np.sort(labelled)
        cells, masks = self.pool.cells_NPD[rows], self.pool.masks_NP[rows]
        # The seed of the head goes with the round, not with the strategy: pairs share its luck.
        network = head.fit(cells, masks, self.num_classes, 1000 * seed + place, self.head_steps)
        scored = self.scored
        return network, head.miou(network, scored.cells_NPD, scored.masks_NP, self.num_classes)

    def _ask(
        self, network: nn.Module, name: str, plan: Plan, labelled: NDArray[np.intp], seed: int
    ) -> NDArray[np.intp]:
        rest = np.setdiff1d(np.arange(len(self.data.pool)), labelled)
        found = head.score(network, self.pool.cells_NPD[rest], self.acquire.top_share)
        pool = Pool(
            sample_ids=tuple(self._id(row) for row in rest),
            scores_N=found.entropy_N,
            embeddings_ND=self.pool.embeddings_NE[rest].astype(np.float64),
            labelled_embeddings_MD=self.pool.embeddings_NE[labelled].astype(np.float64),
            by_class=ByClass(
                entropy_NK=found.class_entropy_NK,
                shares_NK=found.class_shares_NK,
                labelled_shares_K=self._shares(labelled),
            ),
        )
        choose = STRATEGIES[self.acquire.strategy if name == DEFAULT else name]
        rng = np.random.default_rng([self.acquire.seed, seed, len(labelled)])
        picks = choose(pool, plan.query_size, self.acquire, rng)
        rows = {self._id(row): row for row in rest}
        return np.array([rows[pick.sample_id] for pick in picks])

    def _shares(self, labelled: NDArray[np.intp]) -> NDArray[np.float64]:
        known = self.pool.masks_NP[labelled]
        counts = np.bincount(known[known != IGNORE], minlength=self.num_classes)
        return counts / max(1, counts.sum())

    def _id(self, row: int) -> str:
        example = self.data.pool[row]
        return f"{example.domain}/{example.name}"


def run(bench: Bench, plan: Plan, kept: Path) -> dict[str, list[list[float]]]:
    """mIoU per strategy, seed and round; replays that `kept` holds from before are not repeated.

    One replay per processor at a time; each is written as it ends.
    """
    jobs = [(name, seed) for seed in range(plan.seeds) for name in plan.strategies]
    files = {job: kept / f"{_said(bench, plan, job[0])}-seed-{job[1]}.json" for job in jobs}
    missing = [job for job in jobs if not files[job].exists()]
    replays = Parallel(n_jobs=usable_processors(), return_as="generator_unordered")(
        delayed(_replay)(bench, plan, job, files[job]) for job in missing
    )
    with Progress("replays", len(jobs), done=len(jobs) - len(missing)) as progress:
        for name, seed in replays:
            progress.advance(note=partial("{}, seed {}".format, name, seed))
    read = {job: json.loads(file.read_text()) for job, file in files.items()}
    return {name: [read[name, seed] for seed in range(plan.seeds)] for name in plan.strategies}


def _ceiling(bench: Bench, everything: NDArray[np.intp], seed: int) -> float:
    torch.set_num_threads(1)
    return bench.miou(everything, seed, 0)[1]


def _replay(bench: Bench, plan: Plan, job: tuple[str, int], file: Path) -> tuple[str, int]:
    # Several threads on such small products wait for one another longer than they compute.
    torch.set_num_threads(1)
    write_json(file, bench.replay(job[0], plan, job[1]))
    return job


def _said(bench: Bench, plan: Plan, name: str) -> str:
    """A file's name: the strategy and everything that its replays depend on but the features."""
    acquire = bench.acquire.model_dump()
    shape = asdict(plan) | {"strategies": None, "seeds": None}
    said = [pipeline.__version__, head.SETTING, bench.head_steps, acquire, shape, name]
    text = json.dumps(said, sort_keys=True)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
