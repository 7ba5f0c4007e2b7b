"""Is another query worth people's time? What stopping would lose, and three rules that say stop.

Two signs beside the budget: predictions on a fixed unlabelled stop set no longer change from round
to round (Bloodgood and Vijay-Shanker 2009), and the learning curve, a power law of the number of
labels, has little left to give for an hour of annotation.
Shape suffixes: R rounds, S pixels of an image, K classes, C exponents, M and G grid values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.campaign.spending import Spending, why_spent
from pipeline.config.rounds import LoopParams
from pipeline.errors import DataError
from pipeline.reading import Content, content_of

Floats = NDArray[np.float64]
Classes = NDArray[np.uint8]
Unit = Literal["image", "region", "correction"]

MIN_ROUNDS = 3  # a power law has three unknowns
AHEAD = 10  # images over which the next gain is told; of regions it is the next query
SIDE = 32  # pixels a side of the grid on which an image of the stop set is compared
INTERVAL = (0.05, 0.95)
# What two trainings on the same labels differ by, as standard deviation of mIoU (seeds on CamVid:
# .003 to .015, benchmarks/results/camvid_seeds.md), and how many rounds that knowledge is worth.
NOISE, NOISE_ROUNDS = 0.01, 3.0
# The grid of curves, each as likely as the other before a round is seen.
EXPONENTS_C = np.geomspace(0.1, 2.0, 16)
NOW_M = np.linspace(-0.12, 0.12, 81)  # mIoU at the present labels, against the last one measured
# What infinitely many labels would add, of what is left to 1: finer towards 0, since ceilings near
# 1 are rare. On made-up curves the intervals of 90 % then hold 92 % (tests/pipeline).
LEFT_G = np.linspace(0.0, 1.0, 81) ** 2


class Range(NamedTuple):
    """Something expected, with its spread."""

    mean: float
    sd: float
    low: float
    """5 % lie below."""
    high: float
    """5 % lie above."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What more labels would bring, in mIoU."""

    loss: Range
    """Of stopping now, against labelling every image that is left."""
    gain: Range
    """Of the next `ahead` images or regions."""
    num_left: int
    """Images or regions without a label."""
    ahead: int = AHEAD


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a round says about stopping; metrics/stopping.json."""

    num_rounds: int
    """Of this domain with a measured mIoU."""
    forecast: Forecast | None
    """None with fewer than MIN_ROUNDS."""
    gain_per_hour: Range | None
    """mIoU for an hour of annotation; None where that, or people's time, is not known."""
    agreements: tuple[float, ...]
    """mIoU of each round's predictions on the stop set against the round before's, in order."""
    reasons: tuple[str, ...]
    """Rules that say stop, in words."""
    closes: bool
    """Whether the domain ends here: loop.stop is auto and there is a reason."""
    unit: Unit = "image"
    """What labels are counted in: what people are asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metrics/stopping.json and `ssl-loop status --json`."""
        plain = asdict(self)
        plain["gain_per_hour"] = self.gain_per_hour and self.gain_per_hour._asdict()
        if self.forecast:
            plain["forecast"]["loss"] = self.forecast.loss._asdict()
            plain["forecast"]["gain"] = self.forecast.gain._asdict()
        return plain


def stop_set(sample_ids: Iterable[str], size: int) -> list[str]:
    """`size` of the ids, the same in every round: the first by the hash of their name."""
    return sorted(sample_ids, key=lambda name: hashlib.sha256(name.encode()).digest())[:size]


def thinned(classes_HW: Classes) -> Classes:
    """Classes [S] on a grid over the image, S = SIDE * SIDE, whatever the image's size."""
    height, width = classes_HW.shape
    rows, columns = ((np.arange(SIDE) + 0.5) / SIDE for _ in range(2))
    return classes_HW[np.ix_((rows * height).astype(int), (columns * width).astype(int))].ravel()


def agreement(before: Mapping[str, Classes], now: Mapping[str, Classes]) -> float | None:
    """mIoU in [0, 1] of one round's classes [S] against another's, over the images of both.

    Mean over the classes that either predicts; None without a common image.
    """
    common = sorted(set(before) & set(now))
    if not common:
        return None
    left, right = (np.concatenate([found[name] for name in common]) for found in (before, now))
    hits_K = np.bincount(left[left == right], minlength=256)
    unions_K = np.bincount(left, minlength=256) + np.bincount(right, minlength=256) - hits_K
    return float(np.mean(hits_K[unions_K > 0] / unions_K[unions_K > 0]))


def forecast(
    points: Sequence[tuple[int, float]], num_left: int, ahead: int = AHEAD
) -> Forecast | None:
    """From (labels, mIoU) of the rounds so far, the last one now; None below MIN_ROUNDS.

    The mean over curves mIoU(n) = a - b n^-c, a at most 1, each weighed by how well it fits:
    normal noise, its size integrated out (inverse gamma around NOISE).
    """
    if len(points) < MIN_ROUNDS:
        return None
    for labels, miou in points:
        if labels < 1 or not 0 <= miou <= 1:
            raise DataError(f"{labels} labels with mIoU {miou}: expected 1 or more, and 0 to 1")
    labels_R, mious_R = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    now = labels_R[-1]
    level_M = np.clip(mious_R[-1] + NOW_M, 0, 1)
    # a - b n^-c, written by its value now and by what is left above that.
    left_MG = (1 - level_M[:, None]) * LEFT_G
    errors_CMG = sum(
        (level_M[:, None] + left_MG * _rise(labels / now) - miou) ** 2
        for labels, miou in zip(labels_R, mious_R, strict=True)
    )
    log_CMG = -(len(points) + NOISE_ROUNDS) / 2 * np.log(NOISE_ROUNDS * NOISE**2 + errors_CMG)
    weights_CMG = np.exp(log_CMG - log_CMG.max())
    return Forecast(
        loss=_range(left_MG * _rise((now + num_left) / now), weights_CMG),
        gain=_range(left_MG * _rise((now + min(ahead, num_left)) / now), weights_CMG),
        num_left=num_left,
        ahead=ahead,
    )


def _rise(times: float) -> Floats:
    """Share of what is left that `times` as many labels bring, per exponent: C x 1 x 1."""
    return 1 - np.asarray(times**-EXPONENTS_C, dtype=np.float64)[:, None, None]


def _range(values: Floats, weights: Floats) -> Range:
    order = np.argsort(values, axis=None)
    flat, shares = values.ravel()[order], (weights / weights.sum()).ravel()[order]
    mean = float(flat @ shares)
    low, high = (float(flat[np.searchsorted(np.cumsum(shares), at)]) for at in INTERVAL)
    return Range(mean, float(np.sqrt(shares @ (flat - mean) ** 2)), low, high)


def advise(  # noqa: PLR0913 - five facts, and what two of them are counted in
    points: Sequence[tuple[int, float]],
    num_left: int,
    minutes: float | None,
    agreements: Sequence[float],
    params: LoopParams,
    *,
    unit: Unit = "image",
    ahead: int = AHEAD,
) -> Advice:
    """From the learning curve, the minutes that a label is expected to take, and agreements.

    Labels, `num_left` and `ahead` are counted in `unit`.
    """
    found = forecast(points, num_left, ahead)
    per_hour = None
    if found and minutes and num_left:
        hours = min(ahead, num_left) * minutes / 60
        per_hour = Range(*(value / hours for value in found.gain))
    reasons = []
    last = agreements[-params.stop_rounds :]
    if len(last) == params.stop_rounds and min(last) >= params.stop_agreement:
        reasons.append(
            f"predictions on the stop set agreed by {min(last):.3f} or more for "
            f"{params.stop_rounds} rounds (loop.stop_agreement {params.stop_agreement:g})"
        )
    if per_hour and per_hour.high < params.stop_gain_per_hour:
        reasons.append(
            f"an hour of annotation brings at most {per_hour.high:.4f} mIoU, 95 % sure "
            f"(loop.stop_gain_per_hour {params.stop_gain_per_hour:g})"
        )
    return Advice(
        num_rounds=len(points),
        forecast=found,
        gain_per_hour=per_hour,
        agreements=tuple(agreements),
        reasons=tuple(reasons),
        closes=bool(reasons) and params.stop == "auto",
        unit=unit,
    )


def describe(found: Advice) -> list[str]:
    """In sentences: what stopping loses, how much predictions still change, and the advice."""
    said = [forecast_words(found)]
    if found.agreements:
        said.append(
            f"Predictions on the stop set agree with the round before's by "
            f"{found.agreements[-1]:.3f} (mean IoU)."
        )
    return said + verdict(found)


def verdict(found: Advice) -> list[str]:
    """The advice to stop, or that the domain is closed; nothing while no rule says so."""
    if not found.reasons:
        return []
    done = "The domain is closed" if found.closes else "Advice: stop"
    return [f"{done}: {'; '.join(found.reasons)}."]


def why_finished(found: Advice | None, spent: Spending) -> str:
    """Why a round asks nobody."""
    if found and found.closes:
        return "; ".join(found.reasons)
    return why_spent(spent)


def forecast_words(found: Advice) -> str:
    """What stopping now would lose, and what the next images would bring."""
    if found.forecast is None:
        return (
            f"Too few rounds to say what stopping would lose: {found.num_rounds} with a measured "
            f"mIoU, {MIN_ROUNDS} are needed."
        )
    noun = "region" if found.unit == "region" else "image"
    doing = "correcting" if found.unit == "correction" else "labelling"
    loss, gain, num_left = found.forecast.loss, found.forecast.gain, found.forecast.num_left
    if not num_left:
        return f"Every {noun} has its label: there is nothing left to gain here."
    text = (
        f"If you stop now, expected loss {loss.mean:.3f} \N{PLUS-MINUS SIGN} {loss.sd:.3f} mIoU "
        f"against {doing} all {num_left} {noun}s that are left; the next "
        f"{min(found.forecast.ahead, num_left)} "
        f"are expected to bring {gain.mean:.3f} ({gain.low:.3f} to {gain.high:.3f})"
    )
    if found.gain_per_hour:
        text += f", {found.gain_per_hour.mean:.3f} for an hour of annotation"
    return f"{text}."


def parse_advice(content: Content, *, source: str = "metrics/stopping.json") -> Advice:
    """What `Advice.to_dict` gave; DataError names the key that is wrong."""
    return content_of(content, source).json(Advice)
