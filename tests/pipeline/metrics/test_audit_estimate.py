"""The audit estimate against counts done by hand, and against a population that is known whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.metrics.audit_estimate import MIN_IMAGES, AuditEstimate, audit_estimate, describe
from pipeline.metrics.iou import iou_per_class, mean_iou
from pipeline.records.answers import Answer

K = 3


def answer(confusion_KK: np.ndarray, chance: float | None = 0.1, name: str = "a") -> Answer:
    counts = tuple(
        (row, column, int(pixels))
        for (row, column), pixels in np.ndenumerate(confusion_KK)
        if pixels
    )
    return Answer(
        item_id=f"day/{name}/r1", source="audit", chance=chance, mask_sha256="m", counts=counts
    )


def some_answers(num: int = 14, seed: int = 0) -> list[Answer]:
    rng = np.random.default_rng(seed)
    return [
        answer(rng.integers(0, 40, (K, K)) + np.diag([200, 60, 20]), rng.uniform(0.02, 0.3), str(n))
        for n in range(num)
    ]


def dense(row: Answer) -> np.ndarray:
    confusion_KK = np.zeros((K, K))
    for truth, predicted, pixels in row.counts:
        confusion_KK[truth, predicted] = pixels
    return confusion_KK


def miou(confusion_KK: np.ndarray) -> float:
    found = mean_iou(iou_per_class(torch.tensor(confusion_KK)))
    assert found is not None
    return found


def estimated(answers: Sequence[Answer]) -> tuple[float, float, float]:
    found = audit_estimate(answers, K)
    assert found.miou is not None
    assert found.low is not None
    assert found.high is not None
    return found.miou, found.low, found.high


def test_it_is_the_miou_of_the_weighted_counts() -> None:
    answers = some_answers()
    total_KK = np.zeros((K, K))
    for row in answers:
        total_KK += dense(row) / (row.chance or 0)
    found, low, high = estimated(answers)
    assert found == pytest.approx(miou(total_KK), abs=1e-9)
    assert low < found < high


def test_the_interval_is_a_bootstrap_over_images() -> None:
    """As drawn naively, image by image, from another seed."""
    answers = some_answers()
    rng = np.random.default_rng(7)
    naive = []
    for _ in range(3000):
        picked = rng.integers(len(answers), size=len(answers))
        naive.append(miou(sum(dense(answers[n]) / (answers[n].chance or 0) for n in picked)))
    low, high = np.percentile(naive, [2.5, 97.5])
    assert estimated(answers)[1:] == pytest.approx((low, high), abs=0.1 * (high - low))


def test_order_scale_and_class_names_change_nothing() -> None:
    answers = some_answers()
    expected = estimated(answers)
    assert estimated([*reversed(answers)])[0] == pytest.approx(expected[0])
    halved = [replace(row, chance=(row.chance or 0) / 2) for row in answers]
    assert estimated(halved) == pytest.approx(expected)
    larger = [answer(4 * dense(row), row.chance) for row in answers]  # images of twice the size
    assert estimated(larger) == pytest.approx(expected)
    order = [2, 0, 1]
    renamed = [answer(dense(row)[np.ix_(order, order)], row.chance) for row in answers]
    assert estimated(renamed) == pytest.approx(expected)


def test_a_class_that_never_occurs_does_not_count() -> None:
    answers = [answer(np.diag([50, 50]), name=str(n)) for n in range(MIN_IMAGES)]
    assert estimated(answers) == (1.0, 1.0, 1.0)


def test_below_ten_images_there_is_no_number() -> None:
    found = audit_estimate(some_answers(MIN_IMAGES - 1), K)
    assert found == AuditEstimate(
        num_images=9, miou=None, low=None, high=None, no_answer=0, no_teacher=0
    )
    assert audit_estimate([], K).miou is None
    assert audit_estimate(some_answers(MIN_IMAGES), K).miou is not None


def test_what_cannot_be_judged_is_counted_and_left_out() -> None:
    answers = some_answers()
    refused = replace(answers[0], mask_sha256="", counts=())
    cold = replace(answers[0], counts=())
    of_old_version = replace(answers[0], chance=None)
    chosen = replace(answers[0], source="strategy", chance=None)
    found = audit_estimate([*answers, refused, cold, of_old_version, chosen], K)
    assert (found.num_images, found.no_answer, found.no_teacher) == (14, 1, 2)
    assert found.miou == audit_estimate(answers, K).miou


NUM_IMAGES = 60
ROUNDS = ((0.50, 10, 3), (0.65, 4, 2), (0.80, 14, 2), (0.85, 6, 4))  # skill, picks, of them drawn


class World:
    """Images that differ in difficulty and size, teachers that get better, a strategy that asks
    for the most difficult images: all that makes a plain mean wrong."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.difficulty_N = rng.beta(0.6, 1.2, NUM_IMAGES)
        self.pixels_N = rng.integers(300, 900, NUM_IMAGES)

    def confusion(self, image: int, skill: float) -> np.ndarray:
        wrong = (1 - skill) * 1.6 * self.difficulty_N[image]
        right, pixels = 1 - min(0.95, wrong), self.pixels_N[image]
        truth_K = np.array([0.7, 0.2, 0.1]) * pixels
        off_KK = np.array([[0, 0.5, 0.5], [0.8, 0, 0.2], [0.9, 0.1, 0]])
        return np.rint(np.diag(truth_K * right) + off_KK * (truth_K * (1 - right))[:, None])

    def campaign(self, rng: np.random.Generator) -> tuple[list[Answer], list[Answer], np.ndarray]:
        """Audit picks, all picks, and the counts of all candidates of all rounds."""
        left = list(range(NUM_IMAGES))
        drawn, picked, total_KK = [], [], np.zeros((K, K))
        for skill, num, num_drawn in ROUNDS:
            total_KK += sum(self.confusion(image, skill) for image in left)
            audit = [int(image) for image in rng.choice(left, num_drawn, replace=False)]
            rest = sorted(set(left) - set(audit), key=lambda image: -self.difficulty_N[image])
            chance = num_drawn / len(left)
            drawn += [answer(self.confusion(image, skill), chance) for image in audit]
            picked += [answer(self.confusion(n, skill)) for n in rest[: num - num_drawn]]
            left = rest[num - num_drawn :]
        return drawn, drawn + picked, total_KK


def test_it_is_unbiased_where_a_mean_over_the_query_is_not() -> None:
    """300 campaigns over the same world."""
    world, rng = World(), np.random.default_rng(11)
    errors: dict[str, list[float]] = {"audit": [], "unweighted": [], "query": []}
    counts_KK = []
    for _ in range(300):
        drawn, all_picks, total_KK = world.campaign(rng)
        true = miou(total_KK)
        weighted_KK = sum(dense(row) / (row.chance or 0) for row in drawn)
        counts_KK.append(weighted_KK - total_KK)
        errors["audit"].append(miou(weighted_KK) - true)
        errors["unweighted"].append(miou(sum(dense(row) for row in drawn)) - true)
        errors["query"].append(miou(sum(dense(row) for row in all_picks)) - true)
    noise_KK = np.std(counts_KK, axis=0) / np.sqrt(300)
    assert (np.abs(np.mean(counts_KK, axis=0)) < 4 * noise_KK).all()  # the counts, exactly
    bias = {name: float(np.mean(values)) for name, values in errors.items()}
    assert abs(bias["audit"]) < 0.015  # mIoU is a ratio: without bias only as images become many
    assert bias["unweighted"] > 0.03  # later rounds, whose teachers are better, count too much
    assert bias["query"] < -0.1  # the strategy asks for what the teacher gets wrong


def test_the_interval_holds_what_it_says() -> None:
    """Of 100 campaigns; 11 images are few, so a little under 95 % is what a bootstrap gives."""
    world, rng = World(), np.random.default_rng(12)
    inside = 0
    for _ in range(100):
        drawn, _, total_KK = world.campaign(rng)
        _, low, high = estimated(drawn)
        inside += low <= miou(total_KK) <= high
    assert inside >= 80


def test_it_is_told_in_words() -> None:
    few = audit_estimate(some_answers(1), K)
    assert describe(few) == (
        "Too few images for a number: 1 image drawn at random, at least 10 are needed."
    )
    found = AuditEstimate(num_images=14, miou=0.612, low=0.55, high=0.67, no_answer=1, no_teacher=2)
    assert describe(found) == (
        "0.61 mIoU, 0.55 to 0.67 with 95 % confidence, on 14 images drawn at random, each judged "
        "by the teacher of its round before it learnt from the label. Left out: 1 without an "
        "answer, 2 drawn before there was a teacher."
    )
