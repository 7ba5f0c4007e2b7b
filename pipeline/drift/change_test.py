"""Sequential change detection on a stream of p-values: a Shiryaev-Roberts e-detector.

Shin, Ramdas & Rinaldo 2024 ("E-detectors: a nonparametric framework for sequential change
detection"), with the power bets of Vovk, Nouretdinov & Gammerman 2003 ("Testing exchangeability
on-line").

S scales of the encoder, E bets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Of the bet e p^(e - 1): small for images far off, near 1 for images a little off.
BETS_E = np.linspace(0.1, 0.9, 9)
# Where a change began is read off products that would grow for ever after it.
LARGEST = 1e200

Reals = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm: the stream comes from no known domain; positions count images from 0."""

    raised_at: int
    since: int
    """Position where the change is most likely to have begun (CUSUM)."""
    suspicion: float


@dataclass(kw_only=True)
class ChangeDetector:
    """Adds up the suspicion, image by image.

    R_se <- (1 + R_se) (e p_s^(e-1))^(1/w) for each bet e on the p-value of each scale s; the
    suspicion is the mean of all of them, and it is an alarm when it reaches A =
    `false_alarm_every`. Without a change, and with p-values that are independent from one stretch
    of w = `window` images to the next and otherwise depend on each other at will, as those of an
    image at several scales do, the mean time to an alarm is at least A images, and the chance of
    one within n at most n / A: each bet has mean 1 or less, so has the geometric mean of a stretch,
    no R_se - (number of images) grows on average, and therefore nor does their mean.

    After an alarm there is no other until the suspicion is down to sqrt(A) again.
    """

    false_alarm_every: float
    window: int
    position: int = 0
    """Number of images so far."""
    alarm: Alarm | None = None
    """The alarm that has not ended yet; else None."""
    _sums_SE: Reals = field(init=False)
    _products_SE: Reals = field(init=False)
    _since_SE: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        self._begin(num_scales=1)  # until the first image says how many there are

    @property
    def suspicion(self) -> float:
        """Mean of the e-processes: below A until an alarm, then at most A."""
        return float(self._sums_SE.mean())

    def add(self, p_values_S: ArrayLike) -> Alarm | None:
        """Add one image, one p-value per scale; the alarm that it raises, or None.

        ValueError for a p outside (0, 1], and for another number of scales than before.
        """
        p_S = np.asarray(p_values_S, dtype=np.float64)
        if p_S.ndim != 1 or p_S.size == 0 or not ((p_S > 0) & (p_S <= 1)).all():
            raise ValueError(f"p-values {p_S.tolist()}: expected a number in (0, 1] per scale")
        if self.position == 0:
            self._begin(len(p_S))
        if len(p_S) != len(self._sums_SE):
            raise ValueError(f"{len(p_S)} p-values: expected {len(self._sums_SE)}, as before")
        factor_SE = (BETS_E * p_S[:, None] ** (BETS_E - 1)) ** (1 / self.window)
        self._sums_SE = (1 + self._sums_SE) * factor_SE
        # The most likely beginning of a change, by CUSUM: where the product was last below 1.
        self._since_SE[self._products_SE <= 1] = self.position
        self._products_SE = np.minimum(LARGEST, np.maximum(1, self._products_SE) * factor_SE)
        self.position += 1
        return self._judge()

    def _begin(self, num_scales: int) -> None:
        size = (num_scales, len(BETS_E))
        self._sums_SE, self._products_SE = np.zeros(size), np.ones(size)
        self._since_SE = np.zeros(size, dtype=np.intp)

    def _judge(self) -> Alarm | None:
        raised = None
        if self.alarm is None and self.suspicion >= self.false_alarm_every:
            raised = self.alarm = Alarm(
                raised_at=self.position - 1,
                since=int(self._since_SE.flat[self._sums_SE.argmax()]),
                suspicion=self.suspicion,
            )
        elif self.alarm and self.suspicion < np.sqrt(self.false_alarm_every):
            self.alarm = None
            self._sums_SE[:], self._products_SE[:] = 0, 1
        if self.alarm:  # or a long shift would take as long to be over
            self._sums_SE = np.minimum(self._sums_SE, self.false_alarm_every)
        return raised
