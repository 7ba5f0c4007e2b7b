"""FlexMatch's curriculum of thresholds (Zhang et al. 2021), by shares of each class's pixels.

B images, K classes, H height, W width, N = B * H * W pixels.
"""

from __future__ import annotations

from torch import Tensor

from pipeline.methods.shared.class_thresholds import AdaptiveFixMatch, class_means
from pipeline.methods.shared.protocol import MethodSetup


class FlexMatch(AdaptiveFixMatch):
    """FixMatch with tau(c) = tau b / (2 - b), b(c) = s(c) / max(max s, 1 - share reliable at all).

    s(c): running share, among pixels predicted as c, of those with q >= tau. The paper's is their
    number; see class_thresholds.py.
    """

    def __init__(self, setup: MethodSetup) -> None:
        """Nothing has been reliable yet."""
        super().__init__(setup)
        self.overall = self.running_means(1, 0.0)
        self.per_class = self.running_means(setup.num_classes, 0.0)

    def observe(self, confidence_BHW: Tensor, members_KN: Tensor) -> None:
        """Move the shares."""
        reliable_BHW = confidence_BHW >= self.params.confidence_threshold
        share_K, count_K = class_means(reliable_BHW, members_KN)
        num_valid = count_K.sum()
        share = (share_K * count_K).sum() / num_valid.clamp(min=1)
        self.overall.update(share[None], num_valid[None] > 0)
        self.per_class.update(share_K, count_K > 0)

    def paper_thresholds_K(self) -> Tensor:
        """Eq. 7, 8 and 11, the convex mapping."""
        effects_K = self.per_class.values_N
        unused = 1.0 - self.overall.values_N
        status_K = effects_K / effects_K.max().maximum(unused)
        return self.params.confidence_threshold * status_K / (2.0 - status_K)
