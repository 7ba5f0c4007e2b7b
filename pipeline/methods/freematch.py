"""FreeMatch's self-adaptive thresholds (Wang et al. 2023), with class means of the confidence.

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

from torch import Tensor

from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch, class_means
from pipeline.methods.shared.protocol import MethodSetup


class FreeMatch(AdaptiveFixMatch):
    """FixMatch with tau(c) = tau m(c) / max m; tau and m(c) average q, over all and over class c.

    The paper's m(c) is the mean probability of c, thus its area; see class_thresholds.py.
    """

    def __init__(self, setup: MethodSetup) -> None:
        """Means start at 1/K (eq. 4 and 5)."""
        super().__init__(setup)
        start = 1.0 / setup.num_classes
        self.overall = self.running_means(1, start)
        self.per_class = self.running_means(setup.num_classes, start)

    def observe(self, confidence_BHW: Tensor, members_KN: Tensor) -> None:
        """Move both means."""
        mean_K, count_K = class_means(confidence_BHW, members_KN)
        num_valid = count_K.sum()
        mean = (mean_K * count_K).sum() / num_valid.clamp(min=1)
        self.overall.update(mean[None], num_valid[None] > 0)
        self.per_class.update(mean_K, count_K > 0)

    def paper_thresholds_K(self) -> Tensor:
        """Eq. 7 and 8."""
        means_K = self.per_class.values_N
        return self.overall.values_N * means_K / means_K.max()
