"""When a stream of p-values no longer looks as it should: a Shiryaev-Roberts e-detector.

Shin, Ramdas & Rinaldo 2024 ("E-detectors: a nonparametric framework for sequential change
detection"), with the power bets of Vovk, Nouretdinov & Gammerman 2003 ("Testing exchangeability
on-line").

E bets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Of the bet e p^(e - 1): small for images far off, near 1 for images a little off.
BETS_E = np.linspace(0.1, 0.9, 9)
# Where a change began is read off products that would grow for ever after it.
LARGEST = 1e200

Reals = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """The stream comes from no known domain; positions count images from 0."""

    raised_at: int
    since: int
    """Where the change is most likely to have begun."""
    suspicion: float


@dataclass(kw_only=True)
class ChangeDetector:
    """Adds up the suspicion, image by image.

    R_e <- (1 + R_e) (e p^(e-1))^(1/w) for each bet e; the suspicion is their mean, and it is an
    alarm when it reaches A = `false_alarm_every`. Without a change, and with p-values that are
    independent from one stretch of w = `window` images to the next and otherwise depend on each
    other at will, the mean time to an alarm is at least A images, and the chance of one within n
    at most n / A: each bet has mean 1 or less, so has the geometric mean of a stretch, and
    R - (number of images) does not grow on average.

    After an alarm there is no other until the suspicion is down to sqrt(A) again.
    """

    false_alarm_every: float
    window: int
    position: int = 0
    """Images so far."""
    alarm: Alarm | None = None
    """The one that lasts."""
    _sums_E: Reals = field(default_factory=lambda: np.zeros(len(BETS_E)))
    _products_E: Reals = field(default_factory=lambda: np.ones(len(BETS_E)))
    _since_E: NDArray[np.intp] = field(default_factory=lambda: np.zeros(len(BETS_E), dtype=np.intp))

    @property
    def suspicion(self) -> float:
        """Below A but for an alarm; then at most A after the image that raised it."""
        return float(self._sums_E.mean())

    def add(self, p_value: float) -> Alarm | None:
        """The alarm that this image raises; ValueError for a p outside (0, 1]."""
        if not 0 < p_value <= 1:
            raise ValueError(f"p-value {p_value}: expected a number in (0, 1]")
        factor_E = (BETS_E * p_value ** (BETS_E - 1)) ** (1 / self.window)
        self._sums_E = (1 + self._sums_E) * factor_E
        # The most likely beginning of a change, by CUSUM: where the product was last below 1.
        self._since_E[self._products_E <= 1] = self.position
        self._products_E = np.minimum(LARGEST, np.maximum(1, self._products_E) * factor_E)
        self.position += 1
        return self._judge()

    def _judge(self) -> Alarm | None:
        raised = None
        if self.alarm is None and self.suspicion >= self.false_alarm_every:
            raised = self.alarm = Alarm(
                raised_at=self.position - 1,
                since=int(self._since_E[self._sums_E.argmax()]),
                suspicion=self.suspicion,
            )
        elif self.alarm and self.suspicion < np.sqrt(self.false_alarm_every):
            self.alarm = None
            self._sums_E[:], self._products_E[:] = 0, 1
        if self.alarm:  # or a long shift would take as long to be over
            self._sums_E = np.minimum(self._sums_E, self.false_alarm_every)
        return raised
