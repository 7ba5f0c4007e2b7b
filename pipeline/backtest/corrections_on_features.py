"""Replays in which people correct what the head says, instead of painting all of it.

N images, P cells of an image, M cells that teach, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.acquisition.confident_errors import SCORE
from pipeline.backtest.on_features import FeatureBench, TrainedHead
from pipeline.backtest.plan import Plan, Point, training_seed
from pipeline.campaign import annotation_time
from pipeline.campaign.acts import Acts
from pipeline.campaign.corrections import Act, apply_to, corrections_of
from pipeline.probe import head
from pipeline.probe.spreading import alike
from pipeline.records.query import Source
from pipeline.types import IGNORE
from pipeline.uncertainty.error_learner import ErrorLearner, SeenPixels, learn

Mask = NDArray[np.uint8]


@dataclass(kw_only=True, eq=False)
class Corrected:
    """What people said so far, and what they were shown when they did."""

    given_NP: Mask
    """Classes that people gave; IGNORE where they gave none."""
    shown_NP: Mask
    """The pre-annotation as they left it; IGNORE in images that they did not see, and where nothing
    was shown."""
    spread_NP: Mask
    """Classes of cells that look like corrected ones; IGNORE elsewhere."""
    confidence_NP: NDArray[np.float16]
    """Of what was shown."""
    acts: Acts = field(default_factory=Acts)


@dataclass(frozen=True, kw_only=True, eq=False)
class CorrectionBench(FeatureBench):
    """The same features and masks, asked for by corrections."""

    act: Act = "click"
    uncorrected_weight: float = 0.0
    """How likely a cell that people saw and left alone teaches what was shown there, against one of
    those that they labelled: 0 = it stays without a label."""
    spread_weight: float = 0.0
    """How likely a cell that a correction was spread to teaches the corrected class, against one of
    those that people labelled; 0 = nothing is spread."""
    spread_similarity: float = 0.7
    """Cosine of the features from which on a cell looks like a corrected one."""
    learner: ErrorLearner | None = None
    """What the corrections so far say about where errors are."""

    @property
    def facts(self) -> list[Any]:
        """And how people correct, and what is made of it."""
        return [self.act, self.uncorrected_weight, self.spread_weight, self.spread_similarity]

    def replay(self, name: str, plan: Plan, seed: int) -> list[Point]:
        """Before each query and after the last.

        The start images are corrected too: there nothing is shown, so all of them is wrong.
        """
        truth_NP = self.pool.masks_NP
        so_far = Corrected(
            given_NP=np.full_like(truth_NP, IGNORE),
            shown_NP=np.full_like(truth_NP, IGNORE),
            spread_NP=np.full_like(truth_NP, IGNORE),
            confidence_NP=np.zeros(truth_NP.shape, dtype=np.float16),
        )
        start_N = plan.start_set(len(truth_NP), self.acquire, seed)
        self.correct(so_far, {int(row): "strategy" for row in start_N}, None, plan)
        found = []
        for place in range(plan.rounds + 1):
            trained = self.learnt(so_far, seed, place)
            share = float((so_far.given_NP != IGNORE).mean())
            found.append(Point(miou=trained.miou, share=share, acts=so_far.acts))
            if place < plan.rounds:
                asked = self.next_images(trained.network, name, plan, so_far, seed)
                self.correct(so_far, asked, trained.network, plan)
        return found

    def correct(
        self,
        so_far: Corrected,
        asked: dict[int, Source],
        network: head.HeadWithPast | None,
        plan: Plan,
    ) -> None:
        """Answers to a query: images drawn for the audit are painted whole, others corrected."""
        rows_N = np.array(sorted(asked))
        shown_NP = np.full((len(rows_N), so_far.given_NP.shape[1]), IGNORE, dtype=np.uint8)
        if network is not None:
            probs_NPK = np.concatenate(
                [each.numpy() for _, each in head.probs_of(network, self.pool.cells_NPD[rows_N])]
            )
            shown_NP = probs_NPK.argmax(axis=-1).astype(np.uint8)
            so_far.confidence_NP[rows_N] = probs_NPK.max(axis=-1)
        so_far.shown_NP[rows_N] = shown_NP
        for row, shown_P in zip(rows_N, shown_NP, strict=True):
            if asked[row] == "audit":
                so_far.given_NP[row] = self.pool.masks_NP[row]
                so_far.acts += self._painted(shown_P)
            else:
                so_far.acts += self._corrected(so_far, row, shown_P, plan)

    def _painted(self, shown_P: Mask) -> Acts:
        shape = annotation_time.shape_of(shown_P.reshape(self.windows.cells))
        (minutes,) = annotation_time.expected_minutes(annotation_time.PRIOR, [shape])
        return Acts(whole_minutes=float(minutes))

    def _corrected(self, so_far: Corrected, row: int, shown_P: Mask, plan: Plan) -> Acts:
        assert plan.corrections is not None, "a plan of corrections says how many"
        shown_HW, truth_HW, given_HW = (
            each.reshape(self.windows.cells)
            for each in (shown_P, self.pool.masks_NP[row], so_far.given_NP[row])
        )
        done = corrections_of(shown_HW, truth_HW, plan.corrections, self.act)
        apply_to(given_HW, done)  # a view of given_NP
        if self.spread_weight and (shown_P != IGNORE).any():
            for one in done:
                like = alike(self.pool.cells_NPD[row], shown_HW, one, self.spread_similarity)
                so_far.spread_NP[row, like] = one.class_index
        clicks = len(done) if self.act == "click" else 0
        return Acts(looks=1, clicks=clicks, strokes=len(done) - clicks)

    def learnt(self, so_far: Corrected, seed: int, place: int) -> TrainedHead:
        """A head trained on what people gave, and as far as they count on what that was spread to
        and what they left alone."""
        taken_NP = np.zeros(so_far.given_NP.shape, dtype=bool)
        cells, classes, weights = [], [], []
        for classes_NP, weight in (
            (so_far.given_NP, 1.0),
            (so_far.spread_NP, self.spread_weight),
            (so_far.shown_NP, self.uncorrected_weight),
        ):
            at_NP = (classes_NP != IGNORE) & ~taken_NP
            taken_NP |= at_NP
            if weight > 0:
                cells.append(self.pool.cells_NPD[at_NP])
                classes.append(classes_NP[at_NP])
                weights.append(np.full(len(classes[-1]), weight))
        cells_MD, classes_M = np.concatenate(cells), np.concatenate(classes)
        how = head.training(self.head_steps, np.concatenate(weights) if len(weights) > 1 else None)
        own = training_seed(seed, place)
        network = head.fit(cells_MD, classes_M, self.num_classes, own, how)
        scored = self.scored
        miou = head.miou(network, scored.cells_NPD, scored.masks_NP, self.num_classes)
        return TrainedHead(network, miou)

    def next_images(
        self, network: head.HeadWithPast, name: str, plan: Plan, so_far: Corrected, seed: int
    ) -> dict[int, Source]:
        """Rows of the images that the strategy queries next, of those that nobody saw yet."""
        seen_NP = (so_far.given_NP != IGNORE) | (so_far.shown_NP != IGNORE)
        knowing = replace(
            self,
            pool=replace(self.pool, masks_NP=so_far.given_NP),
            learner=self._learner(so_far, seed),
        )
        found = knowing.picks(network, name, plan, seen_NP.any(axis=1)[:, None], seed)
        return {row: source for (row, _), source in found.items()}

    def _learner(self, so_far: Corrected, seed: int) -> ErrorLearner | None:
        looked_NP = so_far.shown_NP != IGNORE
        pixels = SeenPixels(
            features_MD=self.pool.cells_NPD[looked_NP],
            confidence_M=so_far.confidence_NP[looked_NP].astype(np.float64),
            predicted_M=so_far.shown_NP[looked_NP],
        )
        given_M = so_far.given_NP[looked_NP]
        changed_M = (given_M != IGNORE) & (given_M != pixels.predicted_M)
        return learn(pixels, changed_M, self.num_classes, np.random.default_rng([seed, 1]))

    def more_scores(
        self, network: head.HeadWithPast, images_N: NDArray[np.intp]
    ) -> dict[str, NDArray[np.float64]]:
        """Mean over an image's cells that are likeliest sure and wrong, where that was learnt."""
        if self.learner is None:
            return {}
        found = []
        for first, probs_NPK in head.probs_of(network, self.pool.cells_NPD[images_N]):
            rows_N = images_N[first : first + len(probs_NPK)]
            best = probs_NPK.flatten(0, 1).max(dim=-1)
            pixels = SeenPixels(
                features_MD=self.pool.cells_NPD[rows_N].reshape(-1, self.pool.cells_NPD.shape[-1]),
                confidence_M=best.values.double().numpy(),
                predicted_M=best.indices.byte().numpy(),
            )
            values_NP = self.learner.sure_and_wrong(pixels).reshape(len(rows_N), -1)
            count = max(1, round(self.acquire.top_share * values_NP.shape[1]))
            found.append(np.sort(values_NP, axis=1)[:, -count:].mean(axis=1))
        return {SCORE: np.concatenate(found).clip(0, 1)[:, None]}
