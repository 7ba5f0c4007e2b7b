"""Backtest on cached features of a frozen encoder: paired seeds, shared start sets, a small head.

N images, W windows of an image, P cells of an image, M labelled cells, D features, K classes; a
whole image is one window.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray

from pipeline.acquisition import query, strategy
from pipeline.acquisition.pool import ByClass, Pool
from pipeline.backtest.plan import Plan, Point, training_seed
from pipeline.campaign import annotation_time
from pipeline.campaign.acts import Acts
from pipeline.config.params import AcquireParams
from pipeline.data.labelled_folder import LabelledSet
from pipeline.files import write_json
from pipeline.probe import head, uncertainty
from pipeline.probe.features import Features
from pipeline.probe.windows import Windows
from pipeline.reading import REMADE, read
from pipeline.records.query import Source
from pipeline.records.regions import region_id
from pipeline.runtime.progress import Progress
from pipeline.runtime.torch_settings import settle_torch, usable_processors
from pipeline.types import IGNORE


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
    def facts(self) -> list[Any]:
        """What replays depend on beside the plan, the features, and the head's settings."""
        return []

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.data.classes)

    def replay(self, name: str, plan: Plan, seed: int) -> list[Point]:
        """Before each query and after the last."""
        labelled_NW = self.start_set(plan, seed)
        acts = Acts(whole_minutes=plan.start * annotation_time.PRIOR.base)
        found = []
        for place in range(plan.rounds + 1):
            trained = self.train(labelled_NW, seed, place)
            share = float(labelled_NW.mean())
            found.append(Point(miou=trained.miou, share=share, acts=acts))
            if place < plan.rounds:
                asked_NW = self._asked(trained.network, name, plan, labelled_NW, seed)
                acts += self._painting(asked_NW, trained.network)
                labelled_NW |= asked_NW
        return found

    def _painting(self, asked_NW: NDArray[np.bool_], network: head.HeadWithPast) -> Acts:
        """What people do to answer a query, with what the network says as pre-annotation."""
        images_N = np.flatnonzero(asked_NW.any(axis=1))
        if self.windows.count > 1:
            return Acts(looks=len(images_N), regions=int(asked_NW.sum()))
        shown_NP = head.classes_of(network, self.pool.cells_NPD[images_N])
        shapes = [
            annotation_time.shape_of(shown_P.reshape(self.windows.cells)) for shown_P in shown_NP
        ]
        minutes_N = annotation_time.expected_minutes(annotation_time.PRIOR, shapes)
        return Acts(whole_minutes=float(minutes_N.sum()))

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
        how = head.training(self.head_steps)
        network = head.fit(cells_MD, classes_M, self.num_classes, own, how)
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
        asked_NW = np.zeros_like(labelled_NW)
        for row, window in self.picks(network, name, plan, labelled_NW, seed):
            asked_NW[row, window] = True
        return asked_NW

    def picks(
        self,
        network: head.HeadWithPast,
        name: str,
        plan: Plan,
        labelled_NW: NDArray[np.bool_],
        seed: int,
    ) -> dict[tuple[int, int], Source]:
        """(image, window) of what the strategy queries next, and why each is in the query."""
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
            scores={
                name: values_NW[at]
                for name, values_NW in (found.scores | self.more_scores(network, images_N)).items()
            },
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
        places = {
            name: (int(row), int(window))
            for name, (row, window) in zip(names, candidates, strict=True)
        }
        picks = query(chosen_by, pool, plan.query_size, self.acquire, rng)
        return {places[pick.sample_id]: pick.source for pick in picks}

    def more_scores(
        self, network: head.HeadWithPast, images_N: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        """Values NW beside those of the head, by name."""
        return {}

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


def run(bench: FeatureBench, plan: Plan, kept: Path) -> dict[str, list[list[Point]]]:
    """Points per strategy, seed and round; replays that `kept` holds from before are not repeated.

    One replay per processor at a time; each is written as it ends.
    """
    facts = ["fast", "points", head.SETTING, bench.head_steps, *bench.facts]
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
    done = {job: _points(file) for job, file in files.items()}
    return {name: [done[name, seed] for seed in range(plan.seeds)] for name in plan.strategies}


def _replay(bench: FeatureBench, plan: Plan, job: tuple[str, int], file: Path) -> tuple[str, int]:
    settle_torch()  # a worker is a process of its own
    # Several threads on such small products wait for one another longer than they compute.
    torch.set_num_threads(1)
    write_json(file, [asdict(point) for point in bench.replay(job[0], plan, job[1])])
    return job


def _points(file: Path) -> list[Point]:
    rows = read(file, remedy=REMADE).json(list[dict[str, Any]])
    return [Point(**{**row, "acts": Acts(**row["acts"])}) for row in rows]
