"""Strategies compared on cached features: paired seeds, shared start sets, a small head.

N images, W windows of an image, P cells of an image, M labelled cells, D features, K classes; a
whole image is one window.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray

import pipeline
from pipeline.acquisition import query, strategy
from pipeline.acquisition.pool import ByClass, Pool
from pipeline.backtest import head, scores
from pipeline.backtest.features import Features
from pipeline.backtest.labelled_set import LabelledSet
from pipeline.backtest.windows import Windows
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
    """Images per query, or regions."""
    seeds: int
    region_px: int | None = None
    """Side of the regions that are asked for, in pixels of the images the features are made of;
    None: whole images are."""


def labels_of(plan: Plan, num_pool: int, num_windows: int) -> list[int] | list[float]:
    """How much is labelled before each query and after the last: images, or % of the pool's pixels.

    Regions are taken to be equally large.
    """
    if plan.region_px is None:
        return [plan.start + place * plan.query_size for place in range(plan.rounds + 1)]
    asked = [plan.start * num_windows + at * plan.query_size for at in range(plan.rounds + 1)]
    return [round(100 * each / (num_pool * num_windows), 4) for each in asked]


def check(plan: Plan, num_pool: int, num_windows: int) -> None:
    """ConfigError unless the pool can answer all of the plan and all strategies exist."""
    for name in plan.strategies:
        if name != DEFAULT:
            strategy(name)
    if len(set(plan.strategies)) != len(plan.strategies):
        raise ConfigError(f"strategies {', '.join(plan.strategies)}: one is named twice")
    what = "images" if plan.region_px is None else "regions"
    asked, there = plan.rounds * plan.query_size, (num_pool - plan.start) * num_windows
    if plan.start > num_pool or asked > there:
        raise ConfigError(
            f"{plan.start} images to start and {plan.rounds} queries of {plan.query_size} {what}: "
            f"the pool has {num_pool} images, which leaves {max(0, there)} {what} to ask for; "
            "lower --start, --rounds or --query-size"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What every replay works on."""

    data: LabelledSet
    pool: Features
    scored: Features
    acquire: AcquireParams
    windows: Windows
    head_steps: int = head.STEPS

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.data.classes)

    def full_supervision(self, seeds: int) -> float:
        """mIoU with the masks of the whole pool, mean over the seeds."""
        found = Parallel(n_jobs=usable_processors())(
            delayed(_ceiling)(self, seed) for seed in range(seeds)
        )
        return float(np.mean(found))

    def replay(self, name: str, plan: Plan, seed: int) -> list[float]:
        """mIoU before each query and after the last."""
        labelled_NW = self.start_set(plan, seed)
        found = []
        for place in range(plan.rounds + 1):
            network, value = self.miou(labelled_NW, seed, place)
            found.append(value)
            if place < plan.rounds:
                labelled_NW |= self._asked(network, name, plan, labelled_NW, seed)
        return found

    def start_set(self, plan: Plan, seed: int) -> NDArray[np.bool_]:
        """labelled_NW: the whole images that a seed starts from."""
        num = len(self.data.pool)
        rng = np.random.default_rng([self.acquire.seed, seed])
        labelled_NW = np.zeros((num, self.windows.count), dtype=bool)
        labelled_NW[rng.choice(num, size=plan.start, replace=False)] = True
        return labelled_NW

    def miou(
        self, labelled_NW: NDArray[np.bool_], seed: int, place: int
    ) -> tuple[head.Head, float]:
        """A head trained on these windows of the pool, and its mIoU; `place` counts the rounds."""
        cells_MD, classes_M = self._known(labelled_NW)
        # The seed of the head goes with the round, not with the strategy: pairs share its luck.
        seed_of_head = 1000 * seed + place
        network = head.fit(cells_MD, classes_M, self.num_classes, seed_of_head, self.head_steps)
        scored = self.scored
        return network, head.miou(network, scored.cells_NPD, scored.masks_NP, self.num_classes)

    def _known(
        self, labelled_NW: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        known_NP = labelled_NW[:, self.windows.window_P] & (self.pool.masks_NP != IGNORE)
        return self.pool.cells_NPD[known_NP], self.pool.masks_NP[known_NP]

    def _asked(
        self,
        network: head.Head,
        name: str,
        plan: Plan,
        labelled_NW: NDArray[np.bool_],
        seed: int,
    ) -> NDArray[np.bool_]:
        """The windows of the next query."""
        candidates = np.argwhere(~labelled_NW)
        names = tuple(self._id(row, window) for row, window in candidates)
        images_N = np.unique(candidates[:, 0])
        chosen_by = self.acquire.strategy if name == DEFAULT else name
        cells_NPD = self.pool.cells_NPD[images_N]
        needs = strategy(chosen_by).needs
        found = scores.score(network, cells_NPD, self.windows, self.acquire.top_share, needs)
        at = np.searchsorted(images_N, candidates[:, 0]), candidates[:, 1]
        _, classes_M = self._known(labelled_NW)
        counts_K = np.bincount(classes_M, minlength=self.num_classes)
        spent = int(labelled_NW.sum()) - plan.start * self.windows.count
        pool = Pool(
            sample_ids=names,
            scores={name: values_NW[at] for name, values_NW in found.scores.items()},
            gradients_NG=None if found.gradients_NWG is None else found.gradients_NWG[at],
            spent_share=spent / (plan.rounds * plan.query_size),
            embeddings_ND=self.embeddings_NWE[~labelled_NW],
            labelled_embeddings_MD=self.embeddings_NWE[labelled_NW],
            by_class=ByClass(
                entropy_NK=found.class_entropy_NWK[at],
                shares_NK=found.class_shares_NWK[at],
                labelled_shares_K=counts_K / max(1, counts_K.sum()),
                names=self.data.classes,
            ),
        )
        rng = np.random.default_rng([self.acquire.seed, seed, int(labelled_NW.sum())])
        picks = query(chosen_by, pool, plan.query_size, self.acquire, rng)
        chosen = {pick.sample_id for pick in picks}
        asked_NW = np.zeros_like(labelled_NW)
        asked_NW[~labelled_NW] = [name in chosen for name in names]
        return asked_NW

    @cached_property
    def embeddings_NWE(self) -> NDArray[np.float64]:
        """Of whole images the stage embed's; of windows the mean of their cells; rows of norm 1."""
        if self.windows.count == 1:
            return self.pool.embeddings_NE[:, None].astype(np.float64)
        parts = [
            self.windows.means(cells_NPD.astype(np.float32))
            for cells_NPD in np.array_split(self.pool.cells_NPD, max(1, len(self.data.pool) // 16))
        ]
        means = np.concatenate(parts).astype(np.float64)
        lengths = np.linalg.norm(means, axis=-1, keepdims=True)
        return means / np.maximum(lengths, 1e-12)

    def _id(self, row: int, window: int) -> str:
        example = self.data.pool[row]
        name = f"{example.domain}/{example.name}"
        if self.windows.count == 1:
            return name
        return f"{name}#{window // self.windows.columns},{window % self.windows.columns}"


def run(bench: Bench, plan: Plan, kept: Path) -> dict[str, list[list[float]]]:
    """mIoU per strategy, seed and round; replays that `kept` holds from before are not repeated.

    One replay per processor at a time; each is written as it ends.
    """
    jobs = [(name, seed) for seed in range(plan.seeds) for name in plan.strategies]
    files = {job: kept / f"{_said(bench, plan, job[0])}-seed-{job[1]}.json" for job in jobs}
    _ = bench.embeddings_NWE  # made once, here, and not by every replay
    missing = [job for job in jobs if not files[job].exists()]
    replays = Parallel(n_jobs=usable_processors(), return_as="generator_unordered")(
        delayed(_replay)(bench, plan, job, files[job]) for job in missing
    )
    with Progress("replays", len(jobs), done=len(jobs) - len(missing)) as progress:
        for name, seed in replays:
            progress.advance(note=partial("{}, seed {}".format, name, seed))
    read = {job: json.loads(file.read_text()) for job, file in files.items()}
    return {name: [read[name, seed] for seed in range(plan.seeds)] for name in plan.strategies}


def _ceiling(bench: Bench, seed: int) -> float:
    torch.set_num_threads(1)
    everything_NW = np.ones((len(bench.data.pool), bench.windows.count), dtype=bool)
    return bench.miou(everything_NW, seed, 0)[1]


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
