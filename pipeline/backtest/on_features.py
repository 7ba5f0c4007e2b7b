"""Backtest on cached features of a frozen encoder: paired seeds, shared start sets, a small head.

N images, W windows of an image, P cells of an image, M labelled cells, D features, K classes; a
whole image is one window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from pipeline.acquisition import query, strategy
from pipeline.acquisition.pool import ByClass, Pool
from pipeline.backtest.plan import Measured, Plan, training_seed
from pipeline.config.block import Block
from pipeline.config.params import AcquireParams, EmbedParams, ImageParams
from pipeline.data.labelled_folder import LabelledSet
from pipeline.files import write_json
from pipeline.probe import head, uncertainty
from pipeline.probe.features import Features, features_of, named, whole_images
from pipeline.probe.windows import Windows, windows_of
from pipeline.reading import REMADE, read
from pipeline.records.regions import region_id
from pipeline.runtime.progress import Progress
from pipeline.runtime.torch_settings import settle_torch, usable_processors
from pipeline.types import IGNORE


class FeatureSettings(Block):
    """What `--set` may change."""

    embed: EmbedParams = Field(default_factory=EmbedParams)
    image: Annotated[ImageParams, AfterValidator(whole_images)] = Field(
        default_factory=lambda: ImageParams(height_px=192, width_px=256)
    )
    acquire: AcquireParams = Field(default_factory=AcquireParams)


class TrainedHead(NamedTuple):
    """A head, and its mIoU on the images that judge."""

    network: head.HeadWithPast
    miou: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureBench:
    """Features and masks that all replays share."""

    data: LabelledSet
    pool: Features
    scored: Features
    acquire: AcquireParams
    windows: Windows
    head_steps: int = head.STEPS

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.data.classes)

    def replay(self, name: str, plan: Plan, seed: int) -> list[float]:
        """mIoU before each query and after the last."""
        labelled_NW = self.start_set(plan, seed)
        found = []
        for place in range(plan.rounds + 1):
            trained = self.train(labelled_NW, seed, place)
            found.append(trained.miou)
            if place < plan.rounds:
                labelled_NW |= self._asked(trained.network, name, plan, labelled_NW, seed)
        return found

    def start_set(self, plan: Plan, seed: int) -> NDArray[np.bool_]:
        """labelled_NW: the whole images that a seed starts from."""
        num = len(self.data.pool)
        labelled_NW = np.zeros((num, self.windows.count), dtype=bool)
        labelled_NW[plan.start_set(num, self.acquire, seed)] = True
        return labelled_NW

    def train(self, labelled_NW: NDArray[np.bool_], seed: int, place: int) -> TrainedHead:
        """A head trained on these windows of the pool; `place` counts the rounds."""
        cells_MD, classes_M = self._known(labelled_NW)
        own = training_seed(seed, place)
        network = head.fit(cells_MD, classes_M, self.num_classes, own, self.head_steps)
        scored = self.scored
        miou = head.miou(network, scored.cells_NPD, scored.masks_NP, self.num_classes)
        return TrainedHead(network, miou)

    def _known(
        self, labelled_NW: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        known_NP = labelled_NW[:, self.windows.window_P] & (self.pool.masks_NP != IGNORE)
        return self.pool.cells_NPD[known_NP], self.pool.masks_NP[known_NP]

    def _asked(
        self,
        network: head.HeadWithPast,
        name: str,
        plan: Plan,
        labelled_NW: NDArray[np.bool_],
        seed: int,
    ) -> NDArray[np.bool_]:
        """Windows that the strategy queries next."""
        candidates = np.argwhere(~labelled_NW)
        names = tuple(self._id(row, window) for row, window in candidates)
        images_N = np.unique(candidates[:, 0])
        chosen_by = plan.strategy_of(name, self.acquire)
        cells_NPD = self.pool.cells_NPD[images_N]
        needs = strategy(chosen_by).needs
        found = uncertainty.score(network, cells_NPD, self.windows, self.acquire.top_share, needs)
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
        """Embeddings of norm 1: the stage embed's of images, the mean of their cells of windows."""
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
        return region_id(name, window, self.windows.columns)


def measure(data: LabelledSet, plan: Plan, asked: FeatureSettings, cache: Path) -> Measured:
    """Replays of the plan with a small head; features and replays are kept in `cache`."""
    windows = windows_of((asked.image.height_px, asked.image.width_px), plan.region_px)
    plan.check(len(data.pool), windows.count)
    pool, scored = features_of(data, asked.embed, asked.image, cache)
    bench = FeatureBench(
        data=data, pool=pool, scored=scored, acquire=asked.acquire, windows=windows
    )
    kept = cache / pool.key
    ceiling = run(bench, plan.all_labels(len(data.pool)), kept)["random"]
    return Measured(
        curves=run(bench, plan, kept),
        labels=plan.labels(len(data.pool), windows.count),
        full_supervision=float(np.mean(ceiling)),
        model=f"a small head on features of a frozen encoder ({named(asked.embed)})",
    )


def run(bench: FeatureBench, plan: Plan, kept: Path) -> dict[str, list[list[float]]]:
    """mIoU per strategy, seed and round; replays that `kept` holds from before are not repeated.

    One replay per processor at a time; each is written as it ends.
    """
    facts = ["fast", head.SETTING, bench.head_steps]
    files = {
        (name, seed): kept / f"{plan.replay_name(name, bench.acquire, facts)}-{seed}.json"
        for seed in range(plan.seeds)
        for name in plan.strategies
    }
    _ = bench.embeddings_NWE  # made once, here, and not by every replay
    jobs = {file: job for job, file in files.items()}  # one each where names mean the same
    missing = {file: job for file, job in jobs.items() if not file.exists()}
    replays = Parallel(n_jobs=usable_processors(), return_as="generator_unordered")(
        delayed(_replay)(bench, plan, job, file) for file, job in missing.items()
    )
    with Progress("replays", len(jobs), done=len(jobs) - len(missing)) as progress:
        for name, seed in replays:
            progress.advance(note=partial("{}, seed {}".format, name, seed))
    done = {job: read(file, remedy=REMADE).json(list[float]) for job, file in files.items()}
    return {name: [done[name, seed] for seed in range(plan.seeds)] for name in plan.strategies}


def _replay(bench: FeatureBench, plan: Plan, job: tuple[str, int], file: Path) -> tuple[str, int]:
    settle_torch()  # a worker is a process of its own
    # Several threads on such small products wait for one another longer than they compute.
    torch.set_num_threads(1)
    write_json(file, bench.replay(job[0], plan, job[1]))
    return job
